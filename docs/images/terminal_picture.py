#!/usr/bin/env python3
"""A terminal session's text (ANSI colours kept) as an SVG picture, for the README. Needs: pip install rich

    script -qec "npm run demo" session.txt;  python docs/images/terminal_picture.py session.txt docs/images/demo.svg "npm run demo"
"""
import re, sys

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

source, target, title = sys.argv[1:4]
text = open(source, encoding="utf-8", newline="").read().replace("\r\n", "\n").replace("\x1b[1G", "\r").replace("\x1b[0K", "")
text = re.sub(r"[\u2800-\u28ff]", "", text)  # npm's spinner
text = re.sub(r"^Script (started|done).*$", "", text, flags=re.M)
text = "\n".join(line.rstrip("\r ").split("\r")[-1].rstrip() for line in text.split("\n"))  # a progress bar's last state
text = re.sub(r"\n{3,}", "\n\n", re.sub(r"\x1b\[\??[0-9;]*[A-HJKSTfhl]", "", text)).strip()
width = max(len(Text.from_ansi(line)) for line in text.split("\n"))
console = Console(record=True, width=width, file=open("/dev/null", "w"))
console.print(Text.from_ansi(text))
no_web_fonts = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.S)
console.save_svg(target, title=title, code_format=no_web_fonts)

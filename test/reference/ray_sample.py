"""
`sample --ray` against a real Ray: a head and a second node on this machine, four shards, one shard's process killed while it draws, the second
node killed under another shard; the files against those of one process.

    PATH=VENV/bin:$PATH python test/reference/ray_sample.py FOLDER > test/reference/ray_sample.txt

VENV has ray[default] 2.60.0.
"""
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

folder = Path(sys.argv[1]).resolve()
DASHBOARD = "http://127.0.0.1:8277"
HEAD = "127.0.0.1:6399"
FILES = ["filtered_samples.json", "filtered_samples_stats.txt", "filtered_samples_stats.json", "rejected_samples.jsonl"]
SAMPLE = [
    *["npx", "tsx", "src/cli/main.ts", "sample", "--model_path", "examples/judge", "--image_root", "examples/data"],
    *["--data_path", "hpdv3:" + str(folder / "pairs.json"), "--orders", "both", "--samples_per_record", "4", "--batch_size", "8", "--max_new_tokens", "180"],
]
# Ray asks for signs of life this often; a node that is dead is known to be after three of them.
environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "3"}


def node(*arguments):
    """A Ray node in a process group of its own."""
    return subprocess.Popen(
        ["ray", "start", *arguments, "--block", "--object-store-memory", "80000000"],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )


def processes_of(shard):
    """Node.js processes that draw a shard."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"node") and f"{shard}/4".encode() in words and str(folder / "ray").encode() in b" ".join(words):
                found.append(int(entry.name))
    return found


def wait_for(what, seconds=180):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.2)


def has_drawn(shard):
    journal = folder / f"ray/journal.jsonl.shards/{shard}-of-4.jsonl"
    return journal.exists() and journal.read_bytes().count(b"\n") > 3 and processes_of(shard) != []


folder.mkdir(parents=True, exist_ok=True)
pairs = __import__("json").loads(Path("examples/data/train.json").read_text())[:40]
(folder / "pairs.json").write_text(__import__("json").dumps(pairs))
done = subprocess.run([*SAMPLE, "--output_path", str(folder / "one")], capture_output=True, text=True)
assert done.returncode == 0, done.stderr

head = node("--head", "--port", "6399", "--dashboard-host", "127.0.0.1", "--dashboard-port", "8277", "--num-cpus", "1", "--temp-dir", str(folder / "r"))
second = None
try:
    wait_for(lambda: subprocess.run(["curl", "-sf", DASHBOARD + "/api/version"], capture_output=True).returncode == 0)
    second = node("--address", HEAD, "--num-cpus", "1")
    wait_for(lambda: subprocess.run(["ray", "list", "nodes", "--address", DASHBOARD], capture_output=True, text=True).stdout.count("ALIVE") >= 2)
    sampling = subprocess.Popen(
        [*SAMPLE, "--output_path", str(folder / "ray"), "--ray", DASHBOARD, "--shards", "4"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: any(has_drawn(shard) for shard in (1, 2, 3, 4)) or sampling.poll() is not None)
    killed = next(shard for shard in (1, 2, 3, 4) if has_drawn(shard))
    os.kill(processes_of(killed)[0], signal.SIGKILL)
    print(f"shard {killed}: its process was killed while it drew")
    wait_for(lambda: len([s for s in (1, 2, 3, 4) if has_drawn(s)]) >= 2 or sampling.poll() is not None)
    os.killpg(second.pid, signal.SIGKILL)
    print("the second node was killed")
    printed, noted = sampling.communicate(timeout=500)
finally:
    for ray in filter(None, [second, head]):
        try:
            os.killpg(ray.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass

print("exit code", sampling.returncode)
for line in noted.splitlines():
    if re.search("^Ray|^error|judgements; repeated", line):
        print(re.sub(r"tfjs-rft-\w{10}-", "tfjs-rft-…-", line.replace(str(folder), "FOLDER")))
if sampling.returncode != 0:
    sys.exit(noted[-3000:])
for name in FILES:
    same = (folder / "one" / name).read_bytes() == (folder / "ray" / name).read_bytes()
    print(f"{name}: {'the same bytes' if same else 'DIFFERS'}, {(folder / 'ray' / name).stat().st_size}")

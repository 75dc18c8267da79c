"""Reads the rows of a JSON array as Python does it, and prints what it cost as one line of JSON: bench/stream-dataset.ts runs it.

    python bench/peer/peer_stream.py json.load|ijson|ijson-float FILE
"""
import json
import platform
import resource
import sys
import time


def rows(how: str, file: str):
    if how == "json.load":
        with open(file, "rb") as stream:
            yield from json.load(stream)
        return
    import ijson

    with open(file, "rb") as stream:
        # use_float: numbers as float, as json and JavaScript have them; ijson's default is Decimal.
        yield from ijson.items(stream, "item", use_float=how == "ijson-float")


how, file = sys.argv[1:]
version = f"Python {platform.python_version()}"
if how != "json.load":
    import ijson

    version += f", ijson {ijson.__version__}, backend {ijson.backend}"
started, started_cpu, count = time.perf_counter(), time.process_time(), 0
for row in rows(how, file):
    if row["prompt"]:
        count += 1
seconds, cpu = time.perf_counter() - started, time.process_time() - started_cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"version": version, "rows": count, "seconds": seconds, "cpuSeconds": cpu, "peakMB": peak}))

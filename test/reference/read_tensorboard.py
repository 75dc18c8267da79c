"""Reads an event file that src/trainer/metrics-log.ts wrote with TensorBoard's own reader.

Run: npx tsx test/reference/write_events.ts DIR && python test/reference/read_tensorboard.py DIR > test/reference/read_tensorboard.txt
"""
import glob
import sys

import tensorboard
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

(path,) = glob.glob(f"{sys.argv[1]}/events.out.tfevents.*")
events = EventAccumulator(path).Reload()
print(f"tensorboard {tensorboard.__version__}, file version {events.file_version}")
for tag in sorted(events.Tags()["scalars"]):
    print(tag, [(e.step, e.value) for e in events.Scalars(tag)])

#!/usr/bin/env python3
"""Reads a run's event files with TensorBoard's own reader and compares every number with metrics.jsonl.

Usage: check_tensorboard.py RUN_FOLDER      (needs the Python package `tensorboard`, in a venv outside the tree)
Exit code 1 where a curve lacks a step, has one twice, or differs from the JSON line by more than float32 rounding.
"""
import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def expected_curves(path):
    curves = {}
    for line in open(path, encoding="utf-8"):
        row = json.loads(line)
        for name, value in row.items():
            tag = "eval/" + name[5:] if name.startswith("eval_") else "train/" + name
            items = [(tag, value)] if not isinstance(value, list) else [(f"{tag}/{i}", v) for i, v in enumerate(value)]
            for key, number in items:
                if name != "step" and isinstance(number, (int, float)) and not isinstance(number, bool):
                    curves.setdefault(key, []).append((row["step"], number))
    return curves


def main(folder):
    accumulator = EventAccumulator(folder + "/tensorboard", size_guidance={"scalars": 0})
    accumulator.Reload()
    want = expected_curves(folder + "/metrics.jsonl")
    got = {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]}
    problems = sorted(set(want) ^ set(got))
    count = 0
    for tag in set(want) & set(got):
        if [s for s, _ in want[tag]] != [s for s, _ in got[tag]]:
            problems.append(f"{tag}: steps {got[tag][:5]}... for {want[tag][:5]}...")
            continue
        for (step, a), (_, b) in zip(want[tag], got[tag]):
            count += 1
            if abs(a - b) > 1e-6 * max(1.0, abs(a)):
                problems.append(f"{tag} at step {step}: {b} for {a}")
    for problem in problems[:20]:
        print("differs:", problem)
    print(f"{len(got)} curves, {count} numbers, {len(problems)} problems")
    return 1 if problems or count == 0 else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))

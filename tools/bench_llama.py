#!/usr/bin/env python3
"""Tokens a second of prompts and generation, Dure beside llama-bench on the same file. bench_llama.sh builds what it needs and calls this.

Usage: bench_llama.py --dure build/release/dure --llama PROGRAM MODEL.gguf|TYPE... [--tests "-p 8,32,512 -n 32"] [--rounds 3] [--repetitions 2] [--json FILE]

The two programs run in turn, `rounds` times, with all threads of the machine; the table has medians, the ratio of each round's pair (least to
largest), and the share of the machine's own peak that `dure bench` counts. llama-bench leaves out the last layer's feed-forward block for all
but the last token of a prompt; "equal work" multiplies its time by the share of products that it did not leave out, from the file's shapes.
"""
import argparse
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile


def lines(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: exit {done.returncode}: {done.stderr.strip()[-500:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def key(test):
    return test["n_prompt"], test["n_gen"], test["n_depth"]


def name(test):
    p, n, d = test
    return (f"pp{p}" if p else f"tg{n}") + (f" @ d{d}" if d else "")


def last_block_share(dure, model):
    """Of a token's products in a prompt, those of the last layer's feed-forward block."""
    out = subprocess.run([dure, "inspect", model, "--json"], capture_output=True, text=True, check=True)
    facts = json.loads(out.stdout)
    c = facts["config"]
    h, heads, kv, w = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
    attention = h * w * (heads + 2 * kv) + heads * w * h
    sparse = (c["num_experts_per_tok"] + c["num_shared_experts"]) * 3 * h * c["moe_intermediate_size"] + h * c["num_experts"]
    dense = 3 * h * c["intermediate_size"]
    blocks = [sparse if layer["mlp"] == "sparse" else dense for layer in facts["layers"]]
    return blocks[-1] / (sum(blocks) + len(blocks) * attention)


def measure(args, model):
    threads = os.cpu_count()
    tests = shlex.split(args.tests)
    ours, theirs, shares, peaks = {}, {}, {}, []
    for turn in range(args.rounds):
        for t in lines(args.dure, "bench", model, *tests, "-r", args.repetitions, "-o", "jsonl", "--threads", threads):
            ours.setdefault(key(t), []).append(t["median_ts"])
            shares.setdefault(key(t), []).append(t["int8_share"] if t["n_prompt"] else t["read_share"])
            peaks.append((t["peak_read_gbytes_s"], t["peak_int8_gops"], t["peak_f32_gflops"]))
        for t in lines(args.llama, "-m", model, *tests, "-r", args.repetitions, "-fa", "1", "-t", threads, "-o", "jsonl"):
            theirs.setdefault(key(t), []).append(statistics.median(t["samples_ts"]))
        print(f"{model}: round {turn + 1} of {args.rounds}", file=sys.stderr, flush=True)
    skipped = last_block_share(args.dure, model)
    reads, int8, f32 = (statistics.median(values) for values in zip(*peaks))
    print(f"\n{pathlib.Path(model).name}: {threads} threads, median of {args.rounds} rounds; peaks: reads {reads:.1f} GB/s, int8 {int8:.0f} GOP/s, f32 {f32:.0f} GFLOP/s\n")
    print("| test | Dure, tokens/s | llama.cpp | ratio (least to largest) | for equal work | share of the peak |\n|---|--:|--:|--:|--:|--:|")
    rows = []
    for test in sorted(ours):
        pairs = [a / b for a, b in zip(ours[test], theirs[test])]
        ratio = statistics.median(ours[test]) / statistics.median(theirs[test])
        equal = ratio / (1 - skipped) if test[0] else ratio
        share = statistics.median(shares[test])
        rows.append({"model": str(model), "test": name(test), "dure_ts": ours[test], "llama_ts": theirs[test], "ratio": ratio, "equal_work_ratio": equal, "share": share})
        print(f"| {name(test)} | {statistics.median(ours[test]):.1f} | {statistics.median(theirs[test]):.1f} | {ratio:.2f} ({min(pairs):.2f} to {max(pairs):.2f}) "
              f"| {equal:.2f} | {100 * share:.0f} % of {'int8' if test[0] else 'reads'} |", flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--dure", required=True)
    parser.add_argument("--llama", required=True)
    parser.add_argument("--tests", default="-p 8,32,512 -n 32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--json")
    args = parser.parse_args()
    rows = []
    for model in args.models:
        if pathlib.Path(model).exists():
            rows += measure(args, model)
            continue
        with tempfile.TemporaryDirectory() as scratch:
            path = pathlib.Path(scratch) / f"slice-{model}.gguf"
            subprocess.run([args.dure, "bench", "--make-slice", path, "--type", model, "--quiet"], check=True)
            rows += measure(args, path)
    if args.json:
        pathlib.Path(args.json).write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()

"""Decoding of several sequences at once, Dure and llama.cpp in turn (see bench_streams.sh): a table of medians."""
import argparse
import json
import os
import statistics
import subprocess


def lines_of(command):
    """Objects among a program's lines."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def dure_rates(args, kind):
    rows = lines_of([args.dure, "bench", args.model, "-p", "0", "-n", str(args.tokens), "-d", str(args.depth), "-r", "1",
                     "-t", str(args.threads), "--sequences", args.streams, "--arithmetic", kind, "-o", "jsonl"])
    return {row["n_sequences"]: row["avg_ts"] for row in rows}


def llama_rates(args):
    counts = [int(n) for n in args.streams.split(",")]
    context = max(counts) * (args.tokens + args.depth)
    rates = {}
    for _ in range(5):  # now and then it leaves after the first row, exit code 0
        rows = lines_of([args.llama, "-m", args.model, "-npp", str(args.depth), "-ntg", str(args.tokens), "-npl", args.streams,
                         "-c", str(context), "-t", str(args.threads), "-tb", str(args.threads), "--output-format", "jsonl"])
        rates.update({row["pl"]: row["speed_tg"] for row in rows})
        if len(rates) == len(counts):
            return rates
    raise SystemExit(f"{args.llama} measured {sorted(rates)} of {counts}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--dure", required=True)
    parser.add_argument("--llama", required=True)
    parser.add_argument("--streams", default="1,2,4,8,16,32,64")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--depth", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--arithmetic", default="integer8,exact")
    parser.add_argument("--json")
    args = parser.parse_args()
    columns = {f"Dure {kind}": (lambda kind=kind: dure_rates(args, kind)) for kind in args.arithmetic.split(",")}
    columns["llama.cpp"] = lambda: llama_rates(args)
    rates = {name: {} for name in columns}
    for _ in range(args.rounds):
        for name, measure in columns.items():
            for count, rate in measure().items():
                rates[name].setdefault(count, []).append(rate)
    median = {name: {n: statistics.median(all) for n, all in by.items()} for name, by in rates.items()}
    print("| sequences | " + " | ".join(f"{name}, tokens/s | over one" for name in columns) + " |")
    print("|--:|" + "--:|--:|" * len(columns))
    counts = [int(n) for n in args.streams.split(",")]
    for count in counts:
        cells = [f"{median[name][count]:,.0f} | {median[name][count] / median[name][counts[0]]:.2f}" for name in columns]
        print(f"| {count} | " + " | ".join(cells) + " |", flush=True)
    if args.json:
        with open(args.json, "w") as out:
            json.dump(rates, out)


if __name__ == "__main__":
    main()

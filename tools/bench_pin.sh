#!/usr/bin/env bash
# Do workers bound to CPUs of their own pay? `dure bench` with DURE_PIN=off and on, in turn: the median of the rounds, tokens/s.
# usage: tools/bench_pin.sh MODEL [ROUNDS (5)] [flags of `dure bench`, default: -p 512 -n 64 -r 1]
# Needs build/release/dure (or DURE_BUILD).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
[ $# -ge 1 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
model=$1 rounds=${2:-5}
shift $(($# < 2 ? $# : 2))
[ $# -gt 0 ] || set -- -p 512 -n 64 -r 1
for _ in $(seq "$rounds"); do
  for pin in off on; do
    DURE_PIN=$pin "${DURE_BUILD:-build/release}/dure" bench "$model" "$@" -o jsonl | sed "s/^{/{\"pin\": \"$pin\", /"
  done
done | python3 -c '
import json, statistics, sys
rates = {}
for line in sys.stdin:
    if line.startswith("{"):
        row = json.loads(line)
        test = "prompt %d, new %d, %d sequences, depth %d" % tuple(row.get(k, 0) for k in ("n_prompt", "n_gen", "n_sequences", "n_depth"))
        rates.setdefault(test, {"off": [], "on": []})[row["pin"]].append(row["avg_ts"])
print("| | DURE_PIN=off, tokens/s | on | on / off |\n|---|--:|--:|--:|")
for test, by in rates.items():
    off, on = (statistics.median(by[pin]) for pin in ("off", "on"))
    print(f"| {test} | {off:,.1f} | {on:,.1f} | {on / off:.3f} |")
'

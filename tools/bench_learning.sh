#!/usr/bin/env bash
# The quickstart's learning with several seeds: held-out exact match of the fine-tuned and the RL model, and the rise.
# usage: tools/bench_learning.sh [SEEDS=3]   (about ten minutes a seed; finished seeds are kept in runs/)
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
seeds=${1:-3}
for seed in $(seq "$seeds"); do
  DURE=${DURE_BUILD:-build/release}/dure recipes/quickstart.sh --seed "$seed" > "/tmp/dure-learning-$seed.log" 2>&1 ||
    { tail -5 "/tmp/dure-learning-$seed.log" >&2; exit 1; }
done
printf '| seed | fine-tuned | after RL | rise (points) | largest router load CV |\n|--:|--:|--:|--:|--:|\n'
for seed in $(seq "$seeds"); do
  out=runs/nano$([ "$seed" = 1 ] || echo "-$seed")
  cv=$(tail -n 1 "$out/rl/metrics.jsonl" | grep -oE '"router/load_cv/[0-9]+":[0-9.e-]+' | sed 's/.*://' | sort -g | tail -n 1)
  awk -v seed="$seed" -v cv="$cv" '/^exact match, all/ {
    gsub(/\([^)]*\)/, ""); n = split($0, f, " "); rl = f[n - 1]; sft = f[n - 3];
    printf "| %s | %s %% | %s %% | %+.1f | %.2f |\n", seed, sft, rl, rl - sft, cv }' "$out/report/report.txt"
done

#!/usr/bin/env bash
# Preferences from a model's own verified answers: held-out exact match before and after every objective, several seeds.
# usage: tools/bench_preferences.sh --out FOLDER [--model runs/nano/sft/model] [--answers FOLDER] [--seeds 3] [--steps 40] [--items 24] [--jobs 2]
#          [--objectives "dpo kto ipo orpo simpo simper grouper"]
# --answers: a run of `dure rl` that has them in samples.jsonl (docs/preferences.md); made there first where it is left away (minutes).
# Each run has one thread, --jobs of them go at a time; what FOLDER has already is kept. Prints a table, and leaves it in FOLDER/table.md.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
dure=${DURE:-build/release/dure}
model=runs/nano/sft/model answers="" seeds=3 steps=40 items=24 jobs=2 out="" objectives="dpo kto ipo orpo simpo simper grouper"
while [ $# -gt 0 ]; do
  case $1 in
    --model) model=$2 ;;
    --answers) answers=$2 ;;
    --seeds) seeds=$2 ;;
    --steps) steps=$2 ;;
    --items) items=$2 ;;
    --jobs) jobs=$2 ;;
    --out) out=$2 ;;
    --objectives) objectives=$2 ;;
    *) echo "bench_preferences.sh: unknown option $1" >&2 && exit 2 ;;
  esac
  shift 2
done
[ -n "$out" ] || { echo "bench_preferences.sh: name a folder with --out" >&2; exit 2; }
mkdir -p "$out"
export DURE_THREADS=1 DURE_PROGRESS=off DURE_REGISTRY=off DURE_LOG=error

# What is compared, and how far: of the pairs' objectives the recipe's rate, of groups a quarter of it (docs/preferences.md).
settings_of() {
  case $1 in
    dpo) echo "objective.beta=0.5 objective.rpo_alpha=1" ;;
    kto) echo "objective.beta=0.5 objective.rpo_alpha=0" ;;
    ipo) echo "objective.beta=1 objective.rpo_alpha=0" ;;
    orpo) echo "objective.beta=0.1 objective.rpo_alpha=0" ;;
    simpo) echo "objective.beta=2 objective.rpo_alpha=1" ;; # without the second the right answers' log-probabilities fall too, and accuracy with them
    simper) echo "objective.rpo_alpha=0" ;;
    grouper) echo "objective.rpo_alpha=0 optimiser.learning_rate=0.00025" ;;
    *) echo "bench_preferences.sh: $1 is no objective" >&2 && exit 2 ;;
  esac
}
evaluate() { # NAME MODEL
  "$dure" eval "$1=$2" --suite recipes/nano/eval.yaml --set text.corpus="''" --set 'tasks.turns=[1]' --set 'tasks.thinking=[on]' --out "$out/eval-$1" > /dev/null
  cp "$out/eval-$1/results.json" "$out/$1.json"
}
one() { # OBJECTIVE SEED
  local name=$1-$2 file=pairs.jsonl more=() s
  [ -e "$out/$name.json" ] && return
  [ "$1" = grouper ] && file=groups.jsonl
  for s in $(settings_of "$1"); do more+=(--set "$s"); done
  "$dure" prefer recipes/nano/prefer.yaml --set init="$model" --set output="$out/$name" --set seed="$2" --set steps="$steps" --set items_per_step="$items" \
    --set "data.files=[{path: $out/$file}]" --set objective.objective="$1" --set record.eval_steps=0 --set record.checkpoint_steps="$steps" \
    --set record.tensorboard=false "${more[@]}"
  evaluate "$name" "$out/$name/model"
  cp "$out/$name/metrics.jsonl" "$out/$name.metrics.jsonl"
  rm -rf "${out:?}/$name"
}

if [ ! -e "$out/groups.jsonl" ]; then
  if [ -z "$answers" ]; then
    answers=$out/answers
    "$dure" rl recipes/nano/rl.yaml --set init="$model" --set output="$answers" --set steps=60 --set log_samples=256 --set optimiser.learning_rate=1e-12
  fi
  "$dure" data pairs "$answers" --out "$out/pairs.jsonl" --per-prompt 1 > /dev/null
  "$dure" data pairs "$answers" --out "$out/groups.jsonl" --groups > /dev/null
fi
[ -e "$out/before-0.json" ] || evaluate before-0 "$model"
for seed in $(seq "$seeds"); do
  for objective in $objectives; do
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
    one "$objective" "$seed" &
  done
done
wait
python3 - "$out" "$seeds" $objectives <<'PY' | tee "$out/table.md"
import json, os, sys
out, seeds, objectives = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
def accuracies(name):
    found = json.load(open(f"{out}/{name}.json"))[0]
    share = lambda cells: 100 * sum(c["right"] for c in cells) / sum(c["total"] for c in cells)
    return share(found["exact_match"]), 100 * found["greedy_exact_match"]
print("| objective | sampled, by seed | greedy, by seed | log p of chosen | log p of rejected | margin |\n|---|---|---|--:|--:|--:|")
sampled, greedy = accuracies("before-0")
print(f"| before | {sampled:.1f} | {greedy:.1f} | | | |")
for objective in objectives:
    names = [f"{objective}-{s}" for s in range(1, seeds + 1) if os.path.exists(f"{out}/{objective}-{s}.json")]
    if not names:
        continue
    both = [accuracies(n) for n in names]
    ends = []
    for n in names:
        rows = [json.loads(line) for line in open(f"{out}/{n}.metrics.jsonl")]
        mean = lambda part, key: sum(r.get(key) or 0 for r in part) / len(part)
        ends.append([(mean(rows[:3], k), mean(rows[-3:], k)) for k in ("logps/chosen", "logps/rejected", "rewards/margins")])
    shown = [" to ".join(f"{sum(e[k][i] for e in ends) / len(ends):.2f}" for i in (0, 1)) for k in range(3)]
    print(f"| `{objective}` | {', '.join(f'{a:.1f}' for a, _ in both)} | {', '.join(f'{b:.1f}' for _, b in both)} | {' | '.join(shown)} |")
PY

#!/usr/bin/env bash
# Reward by wall time: RL that samples while it learns (async.stale_steps) beside RL that takes turns, the same recipe, alternating.
# usage: tools/bench_async.sh [--model runs/nano/sft/model] [--steps 40] [--seeds 3] [--stale "1 2"] [--grader-ms 0] [--set FIELD=VALUE]...
# --grader-ms: each answer's grade takes so long, as one from a verifier over a network does (items of one's own, eight at a time).
#          [--out OUT]
# --model: a fine-tuned model that knows the tasks of recipes/nano/rl.yaml, such as ./dev quickstart leaves. Nothing else is needed.
# Leaves OUT/table.txt and every run's metrics in OUT (new, or one that it made before; default: a temporary one), and says where.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
dure=${DURE:-build/release/dure}
model=runs/nano/sft/model steps=40 seeds=3 stale="1" out="" grader_ms=0
more=()
while [ $# -gt 0 ]; do
  case $1 in
    --model) model=$2 ;;
    --steps) steps=$2 ;;
    --seeds) seeds=$2 ;;
    --stale) stale=$2 ;;
    --grader-ms) grader_ms=$2 ;;
    --out) out=$2 ;;
    --set) more+=(--set "$2") ;;
    *) echo "bench_async.sh: unknown option $1" >&2 && exit 2 ;;
  esac
  shift 2
done
command -v "$dure" > /dev/null || { echo "bench_async.sh: no program $dure: ./dev build makes it, or name one with DURE=" >&2; exit 2; }
[ -e "$model/config.json" ] || [ -f "$model" ] || { echo "bench_async.sh: no model $model: name a fine-tuned one with --model" >&2; exit 2; }
for number in "$steps" "$seeds" $stale; do
  [[ $number =~ ^[1-9][0-9]*$ ]] || { echo "bench_async.sh: '$number' is no number above 0 (--steps, --seeds, --stale)" >&2; exit 2; }
done
if [ -z "$out" ]; then
  out=$(mktemp -d)
elif [ -e "$out" ] && [ ! -e "$out/.bench_async" ]; then
  echo "bench_async.sh: $out is there already; give --out another name" >&2 && exit 2
else
  rm -rf "$out" && mkdir -p "$out"
fi
touch "$out/.bench_async"
echo "bench_async.sh: $model, $steps steps, $seeds seeds, k = 0 and $stale; in $out" >&2
if [ "$grader_ms" -gt 0 ]; then
  cat > "$out/score.py" <<'PY'
import json, sys, time
pause = int(sys.argv[1]) / 1000
for line in sys.stdin:
    asked = json.loads(line)
    time.sleep(pause)
    said = "".join(c for c in asked["answer"]["content"] if c.isdigit())
    print(json.dumps({"id": asked["id"], "reward": float(said == str(asked["item"]["reference"]))}), flush=True)
PY
  python3 - > "$out/items.jsonl" <<'PY'
import json, random
draw = random.Random(1)
for i in range(2000):
    a, b = draw.randint(10, 99), draw.randint(10, 99)
    print(json.dumps({"prompt": f"{a}+{b}=?", "answer": str(a + b)}))
PY
  more+=(--set "items=[{file: $out/items.jsonl}]" --set tasks_weight=0 --set heldout.every_steps=0
    --set "verifier={command: [python3, $out/score.py, '$grader_ms'], workers: 8}")
fi
export DURE_PROGRESS=off DURE_REGISTRY=off DURE_LOG=error
for seed in $(seq 1 "$seeds"); do
  for k in 0 $stale; do
    "$dure" rl recipes/nano/rl.yaml --set init="$model" --set output="$out/k$k-$seed" --set seed="$seed" --set steps="$steps" \
      --set checkpoint.every_steps="$steps" --set log_samples=0 --set async.stale_steps="$k" "${more[@]}"
    rm -rf "$out/k$k-$seed/checkpoints" "$out/k$k-$seed/model"
  done
done
python3 - "$out" "$seeds" 0 $stale <<'PY' | tee "$out/table.txt"
import json, sys
out, seeds, ks = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
def rows(k, seed):
    now, found = 0.0, []
    for line in open(f"{out}/k{k}-{seed}/metrics.jsonl"):
        row = json.loads(line)
        now += row["step_time"]
        found.append((now, row))
    return found
def reward_at(run, time):  # mean of the last eight steps that were done by then
    done = [row["reward"] for end, row in run if end <= time][-8:]
    return sum(done) / len(done) if done else float("nan")
print(f"{'seed':>4} {'k':>2} {'seconds':>8} {'s/step':>7} {'sampling':>8} {'waiting':>8} {'truncated':>9}  reward at 25, 50, 75, 100 % of the time of k = 0")
for seed in range(1, seeds + 1):
    total = rows("0", seed)[-1][0]
    for k in ks:
        run = rows(k, seed)
        mean = lambda name: sum(row.get(name, 0) for _, row in run) / len(run)
        marks = "  ".join(f"{reward_at(run, total * part):.3f}" for part in (0.25, 0.5, 0.75, 1))
        print(f"{seed:>4} {k:>2} {run[-1][0]:>8.1f} {run[-1][0] / len(run):>7.3f} {mean('rollout_time'):>8.3f} {mean('async/wait_time'):>8.3f} "
              f"{mean('clip_ratio'):>9.5f}  {marks}   last {reward_at(run, 1e9):.3f}")
PY

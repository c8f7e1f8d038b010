#!/usr/bin/env bash
# A small K-EXAONE through its whole life. Every step is one `dure` verb, printed before it runs, and can be run alone.
# Killed at any point and started again, it continues where it was.
#
# usage: recipes/nano/quickstart.sh [--brief] [--seed N] [--out FOLDER]      (DURE: the program, default build/release/dure)
#   --brief  two minutes instead of ten: shorter training, fewer problems; the same verbs
#   --seed   another run: weights, data order, problems and sampling (default 1)
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."

dure=${DURE:-build/release/dure} brief= seed=1 out=
while [ $# -gt 0 ]; do
  case $1 in
    --brief) brief=1 ;;
    --seed) seed=$2; shift ;;
    --out) out=$2; shift ;;
    *) sed -n 5,7p "$0" | cut -c3- >&2; echo "quickstart: unknown argument '$1'" >&2; exit 2 ;;
  esac
  shift
done
out=${out:-runs/nano${brief:+-brief}$([ "$seed" = 1 ] || echo "-$seed")}
if [ -n "$brief" ]; then
  pretrain_steps=90 sft_steps=70 rl_steps=8 problems=4
else
  pretrain_steps=450 sft_steps=500 rl_steps=120 problems=24
fi
mkdir -p "$out"
started=$(date +%s)

# A step is done once its marker exists; its command is shown either way.
step() {
  local name=$1 begun; shift
  printf '\n\033[1m%s\033[0m\n$ %s\n' "$name" "$*" >&2
  if [ -e "$out/.done-$name" ]; then echo "  done before" >&2; return 0; fi
  begun=$(date +%s)
  "$@"
  touch "$out/.done-$name"
  printf '%-12s %4d s\n' "$name" "$(($(date +%s) - begun))" >> "$out/times.txt"
}

step corpus "$dure" data prepare recipes/nano/data.yaml --out "$out/corpus"
step tokenizer "$dure" tokenizer train "$out/corpus" --vocab-size 2048 --out "$out/tokenizer"
step pretrain "$dure" train recipes/nano/pretrain.yaml --set output="$out/pretrain" --set tokenizer="$out/tokenizer" \
  --set data.corpus="$out/corpus" --set seed="$seed" --set steps=$pretrain_steps
step sft "$dure" train recipes/nano/sft.yaml --set output="$out/sft" --set init="$out/pretrain/model" \
  --set data.corpus="$out/corpus" --set seed=$((seed + 100)) --set steps=$sft_steps
step rl "$dure" rl recipes/nano/rl.yaml --set output="$out/rl" --set init="$out/sft/model" --set seed=$((seed + 200)) --set steps=$rl_steps
step report "$dure" eval base="$out/pretrain/model" sft="$out/sft/model" rl="$out/rl/model" --suite recipes/nano/eval.yaml \
  --set text.corpus="$out/corpus" --set tasks.problems_per_cell=$problems --log pretraining="$out/pretrain" --log fine-tuning="$out/sft" \
  --log "reinforcement learning=$out/rl" --title "Dure quickstart, seed $seed" --out "$out/report"
step release "$dure" convert "$out/rl/model" "$out/release" --type bf16
step gguf "$dure" convert "$out/rl/model" "$out/release.gguf" --type f16
step gguf-q8_0 "$dure" quantize "$out/release" "$out/release-q8_0.gguf" Q8_0 --force
step inspect "$dure" inspect "$out/release"

printf '\n\033[1mquestions to the released model\033[0m\n' >&2
for question in "47+85=?" "Welche Zahl ist größer: 318 oder 381?" "3, 17, 9를 작은 수부터 나열하세요."; do
  printf '\n> %s\n' "$question"
  "$dure" generate "$out/release" --chat -p "$question" -n 96 --temperature 0
done

printf '\n> %s   (the 8-bit model)\n' "47+85=?"
"$dure" generate "$out/release-q8_0.gguf" --chat -p "47+85=?" -n 96 --temperature 0

printf '\n'; cat "$out/times.txt"
cat <<END

$(sed -n 1,12p "$out/report/report.txt" 2>/dev/null || true)
report       $out/report/report.html
talk to it   $dure chat $out/release
             $dure generate $out/release --chat -p '62-38=?'
This call took $(($(date +%s) - started)) s.
END

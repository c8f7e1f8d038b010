#!/usr/bin/env bash
# A small model through its whole life in an environment of industry: traces of searches, tokenizer, pretraining, fine-tuning,
# reinforcement learning, and what each of them is worth on held-out items beside searches without a model. docs/industry.md
# Killed at any point and started again, it continues where it was.
#
# usage: recipes/environment.sh plant|molecules [--brief] [--seed N] [--out FOLDER]
#   --brief   a few steps of each stage: does it run?
#   --seed    another run: weights, data order and sampling; items and traces stay (default 1)
#   --out     where everything goes (default runs/NAME, or runs/NAME-N)
# DURE names the program (default build/release/dure); the environment's program lies beside it (./dev build environments).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

die() { sed -n 6,11p recipes/environment.sh | cut -c3- >&2; echo "environment: $*" >&2; exit 2; }

dure=${DURE:-build/release/dure} name=${1:-} brief= seed=1 out=
[ -n "$name" ] || die "which environment?"
shift
while [ $# -gt 0 ]; do
  case $1 in
    --brief) brief=1 ;;
    --seed|--out) [ $# -gt 1 ] || die "$1 needs a value"; printf -v "${1#--}" %s "$2"; shift ;;
    *) die "unknown argument '$1'" ;;
  esac
  shift
done
[[ $seed =~ ^[0-9]+$ ]] || die "--seed takes a whole number, not '$seed'"
[ -f "recipes/$name/recipe.sh" ] && [ -f "recipes/$name/sft.yaml" ] || die "no recipe '$name': there are plant and molecules"
program=$(dirname "$dure")/$name
[ -x "$program" ] || die "$program is not built: ./dev build environments"
out=${out:-runs/$name$([ "$seed" = 1 ] || echo "-$seed")}
mkdir -p "$out"
. "recipes/$name/recipe.sh"
[ -z "$brief" ] || { text=$text_brief; chat=$chat_brief; items=16 heldout=4; baselines=$baselines_brief; }

shorter() { [ -z "$brief" ] || printf -- '--set %s ' "$@"; }
step() {  # done once its marker exists; its command is shown either way
  local step_name=$1 begun; shift
  printf '\n\033[1m%s\033[0m\n$ %s\n' "$step_name" "$*" >&2
  if [ -e "$out/.done-$step_name" ]; then echo "  done before" >&2; return 0; fi
  begun=$(date +%s)
  "$@"
  touch "$out/.done-$step_name"
  printf '%-12s %4d s\n' "$step_name" "$(($(date +%s) - begun))" >> "$out/times.txt"
}
written() { local file=$1; shift; "$@" > "$file.tmp" && mv "$file.tmp" "$file"; }
measured() { "$dure" eval "model=$1" "$out/heldout.jsonl" --environment "$environment" --no-thinking --out "$2"; }

# Items and traces are the environment's own; text teaches the tokenizer what the chat format writes.
step text written "$out/text.jsonl" "$program" traces --form text $text
step chat written "$out/chat.jsonl" "$program" traces --form chat $chat
step items written "$out/items.jsonl" "$program" items --count "$items"
step heldout written "$out/heldout.jsonl" "$program" items --count "$heldout" --heldout true
step corpus "$dure" data prepare "$out/text.jsonl" "$out/chat.jsonl" --language en --out "$out/corpus"
step tokenizer "$dure" tokenizer train "$out/corpus" --vocab-size 512 --out "$out/tokenizer" --force
step pretrain "$dure" train "recipes/$name/pretrain.yaml" --set output="$out/pretrain" --set tokenizer="$out/tokenizer" \
  --set data.corpus="$out/corpus" --set seed="$seed" $(shorter steps=6)
step sft "$dure" train "recipes/$name/sft.yaml" --set output="$out/sft" --set init="$out/pretrain/model" \
  --set data.corpus="$out/corpus" --set seed=$((seed + 100)) $(shorter steps=6)
step rl "$dure" rl "recipes/$name/rl.yaml" --set output="$out/rl" --set init="$out/sft/model" --set seed=$((seed + 200)) \
  --set "items=[{file: $out/items.jsonl}]" --set "environment.command=$command" $(shorter steps=1 rollout.prompts_per_step=2 heldout.items_max=2)
step eval-sft measured "$out/sft/model" "$out/eval-sft"
step eval-rl measured "$out/rl/model" "$out/eval-rl"
step baselines written "$out/baselines.md" "$program" baselines $baselines
printf '\n'; cat "$out/times.txt" "$out/baselines.md"

#!/usr/bin/env bash
# A small K-EXAONE through its whole life. Every step is one `dure` verb, printed before it runs, and can be run alone.
# Killed at any point and started again, it continues where it was.
#
# usage: recipes/quickstart.sh [--brief] [--recipe NAME] [--seed N] [--out FOLDER]
#   --brief   a fraction of the training, fewer problems, the same verbs (nano: two to four minutes instead of 8 to 17)
#   --recipe  a folder of recipes/: nano (default, 8 to 17 minutes on two cores) or small (about an hour)
#   --seed    another run: weights, data order, problems and sampling (default 1)
#   --out     where everything goes (default runs/RECIPE[-brief][-SEED])
# DURE names the program (default build/release/dure).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

die() { sed -n 5,10p recipes/quickstart.sh | cut -c3- >&2; echo "quickstart: $*" >&2; exit 2; }

dure=${DURE:-build/release/dure} short= seed=1 out= recipe=nano
while [ $# -gt 0 ]; do
  case $1 in
    --brief) short=1 ;;
    --recipe|--seed|--out) [ $# -gt 1 ] || die "$1 needs a value"; printf -v "${1#--}" %s "$2"; shift ;;
    -h|--help) sed -n 2,10p recipes/quickstart.sh | cut -c3-; exit 0 ;;
    *) die "unknown argument '$1'" ;;
  esac
  shift
done
[[ $seed =~ ^[0-9]+$ ]] || die "--seed takes a whole number, not '$seed'"
[ -f "recipes/$recipe/recipe.sh" ] || die "no recipe '$recipe': there are $(cd recipes && echo */ | tr -d /)"
. "recipes/$recipe/recipe.sh"
out=${out:-runs/$recipe${short:+-brief}$([ "$seed" = 1 ] || echo "-$seed")}
mkdir -p "$out"
started=$(date +%s)

# What --brief changes of a stage, as options of its verb.
shortened() {
  local change
  for change in "${brief[@]}"; do
    if [ -n "$short" ] && [ "${change%%.*}" = "$1" ]; then echo "--set ${change#*.}"; fi
  done
}
for change in "${brief[@]}"; do
  case $short$change in 1problems=*) problems=${change#*=} ;; esac
done

# A step is done once its marker exists; its command is shown either way. A kill may fall between the two: the step is then
# done again, which trains nothing twice, and --force replaces what is there.
step() {
  local name=$1 begun; shift
  printf '\n\033[1m%s\033[0m\n$ %s\n' "$name" "$*" >&2
  if [ -e "$out/.done-$name" ]; then echo "  done before" >&2; return 0; fi
  begun=$(date +%s)
  "$@"
  touch "$out/.done-$name"
  printf '%-12s %4d s\n' "$name" "$(($(date +%s) - begun))" >> "$out/times.txt"
}

step corpus "$dure" data prepare "$data" --out "$out/corpus"
step tokenizer "$dure" tokenizer train "$out/corpus" --vocab-size "$vocabulary" --out "$out/tokenizer" --force
step pretrain "$dure" train "recipes/$recipe/pretrain.yaml" --set output="$out/pretrain" --set tokenizer="$out/tokenizer" \
  --set data.corpus="$out/corpus" --set seed="$seed" $(shortened pretrain)
step sft "$dure" train "recipes/$recipe/sft.yaml" --set output="$out/sft" --set init="$out/pretrain/model" \
  --set data.corpus="$out/corpus" --set seed=$((seed + 100)) $(shortened sft)
step rl "$dure" rl "recipes/$recipe/rl.yaml" --set output="$out/rl" --set init="$out/sft/model" --set seed=$((seed + 200)) $(shortened rl)
step report "$dure" eval base="$out/pretrain/model" sft="$out/sft/model" rl="$out/rl/model" --suite "$suite" \
  --set text.corpus="$out/corpus" --set tasks.problems_per_cell="$problems" --log pretraining="$out/pretrain" --log fine-tuning="$out/sft" \
  --log "reinforcement learning=$out/rl" --title "Dure quickstart, $recipe, seed $seed" --out "$out/report"
step release "$dure" convert "$out/rl/model" "$out/release" --type bf16 --force
step gguf "$dure" convert "$out/rl/model" "$out/release.gguf" --type f16 --force
step gguf-q8_0 "$dure" quantize "$out/release" "$out/release-q8_0.gguf" Q8_0 --force
step inspect "$dure" inspect "$out/release"

printf '\n\033[1mquestions to the released model\033[0m\n' >&2
for question in "What is 47+85?" "Welche Zahl ist größer, 31 oder 38?" "작은 수부터 차례로 나열하세요: 7 3 5"; do
  printf '\n> %s\n' "$question"
  "$dure" generate "$out/release" --chat -p "$question" -n 96 --temperature 0
done

printf '\n> %s   (the 8-bit model)\n' "What is 47+85?"
"$dure" generate "$out/release-q8_0.gguf" --chat -p "What is 47+85?" -n 96 --temperature 0

printf '\n'; cat "$out/times.txt"
cat <<END

$(sed -n 1,12p "$out/report/report.txt" 2>/dev/null || true)
report       $out/report/report.html
talk to it   $dure chat $out/release
             $dure generate $out/release --chat -p '62-38=?'
This call took $(($(date +%s) - started)) s.
END

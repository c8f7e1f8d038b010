#!/usr/bin/env bash
# Runs the tutorials as a reader would: docs/tutorials/*.md, in the order of the list below, in one empty folder.
#
#   ```sh       is run, each block in a shell of its own that stops at the first command that fails
#   ```output   each of its lines must stand in what the block before printed, in this order; ... is any text
#   ```text     shows what a command prints about; not compared
#   ```console  is not run: what takes long, or needs what is not here
#
# usage: tools/run_tutorials.sh [DURE [TUTORIAL.md ...]]   (default: build/release/dure, all of them)
# KEEP=1 keeps the folder. About half a minute on two idle cores.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

dure=$(readlink -f "${1:-build/release/dure}")
[ -x "$dure" ] || { echo "run_tutorials: there is no program $dure: ./dev build makes it" >&2; exit 2; }
tutorials=("${@:2}")
if [ ${#tutorials[@]} -eq 0 ]; then
  tutorials=(docs/tutorials/{your-own-text,a-gguf-you-downloaded,reading-a-run}.md)
fi
block_seconds_max=300

work=$(mktemp -d)
if [ -n "${KEEP:-}" ]; then echo "kept: $work"; else trap 'rm -rf "$work"' EXIT; fi
mkdir "$work/bin" "$work/empty"
ln -s "$dure" "$work/bin/dure"
export PATH="$work/bin:$PATH" DURE_PROGRESS=off LC_ALL=C.UTF-8

fail() { printf '%s: %s\n--- block\n%s\n--- printed\n' "$1" "$2" "$block" >&2; cat "$work/printed" >&2; exit 1; }

# Whether a line of what was printed, from line `at` on, is `$1`; leaves `at` behind it.
promised() {
  local pattern=${1//\\/\\\\}
  pattern=${pattern//\*/\\*} pattern=${pattern//\?/\\?} pattern=${pattern//\[/\\[} pattern=${pattern//.../*}
  for ((; at < ${#printed[@]}; ++at)); do
    # shellcheck disable=SC2053  # The right side is a pattern.
    if [[ ${printed[at]} == $pattern ]]; then at=$((at + 1)); return 0; fi
  done
  return 1
}

# What to do with a block whose fence has ended.
finish() {
  case $kind in
    sh)
      block=$text blocks=$((blocks + 1)) at=0
      (cd "$work/empty" && timeout "$block_seconds_max" bash -euo pipefail -c "$text") > "$work/printed" 2>&1 < /dev/null ||
        fail "$tutorial:$begun" "exit code $?"
      mapfile -t printed < "$work/printed" ;;
    output)
      while IFS= read -r line; do
        [ -z "$line" ] || promised "$line" || fail "$tutorial:$begun" "not printed in this place: $line"
        lines=$((lines + 1))
      done <<< "${text%$'\n'}" ;;
  esac
}

for tutorial in "${tutorials[@]}"; do
  started=$SECONDS kind='' text='' number=0 blocks=0 lines=0 block='' printed=() at=0
  while IFS= read -r row || [ -n "$row" ]; do
    number=$((number + 1))
    if [[ $row == '```'* ]] && [ -z "$kind" ]; then
      kind=${row#'```'} text='' begun=$number
      case $kind in sh|output|text|console|yaml) ;; *) block='' fail "$tutorial:$number" "a fence of unknown kind '$kind'" ;; esac
    elif [ "$row" = '```' ]; then
      finish; kind=''
    elif [ -n "$kind" ]; then
      text+=$row$'\n'
    fi
  done < "$tutorial"
  [ -z "$kind" ] || fail "$tutorial:$begun" "a block without an end"
  echo "$tutorial: $blocks blocks run, $lines lines as promised, $((SECONDS - started)) s"
done

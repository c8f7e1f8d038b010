#!/usr/bin/env bash
# The tokenizer beside the `tokenizers` library, on one thread, in one run: encoding and training.
# usage: tools/bench_tokenizer.sh [CORPUS.txt]      (default: the texts of runs/nano/corpus, which the quickstart prepares)
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
build=${DURE_BUILD:-build/release}
cmake --build "$build" --target bench_tokenizer dure -- --quiet >&2
corpus=${1:-}
if [ -z "$corpus" ]; then
  [ -d runs/nano/corpus ] || { echo "bench_tokenizer.sh: give a text file, or run ./dev quickstart first" >&2; exit 2; }
  scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT
  corpus=$scratch/corpus.txt
  python3 -c 'import json, sys
for path in sys.argv[1:]:
    for line in open(path, encoding="utf-8"):
        text = json.loads(line).get("text")
        if text: print(text.rstrip("\n"))' runs/nano/corpus/*.jsonl > "$corpus"
fi
tools/peer_venv.sh tokenizers > /dev/null
python3 tools/bench_tokenizer_peer.py --build "$build" --venv "${XDG_CACHE_HOME:-$HOME/.cache}/dure/venv-tokenizers" "$corpus"

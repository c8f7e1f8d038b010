#!/usr/bin/env bash
# Prompts and generation on one machine and one file, Dure beside llama.cpp's llama-bench, in turn.
# usage: tools/bench_llama.sh MODEL.gguf|TYPE... [--tests "-p 8,32,512 -n 32"] [--rounds 3] [--repetitions 2] [--json FILE]
# TYPE (Q4_K, Q8_0, Q4_K_M, ...): a slice of K-EXAONE's true shape is made in ${TMPDIR:-/tmp} (7 to 13 GB) and removed afterwards. Needs build/release/dure (or DURE_BUILD).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
[ $# -ge 1 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
build=$(tools/peer_llama.sh llama-bench)
exec python3 tools/bench_llama.py --dure "${DURE_BUILD:-build/release}/dure" --llama "$build/bin/llama-bench" "$@"

#!/usr/bin/env bash
# Sequences decoded together on one machine and one file, Dure beside llama.cpp's llama-batched-bench, in turn: tokens/s of all and total over single.
# usage: tools/bench_streams.sh MODEL.gguf [--streams 1,2,4,8,16,32,64] [--tokens 32] [--depth 32] [--rounds 3] [--json FILE]
# Needs build/release/dure (or DURE_BUILD).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
[ $# -ge 1 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
build=$(tools/peer_llama.sh llama-batched-bench)
exec python3 tools/bench_streams.py --dure "${DURE_BUILD:-build/release}/dure" --llama "$build/bin/llama-batched-bench" "$@"

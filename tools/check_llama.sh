#!/usr/bin/env bash
# Does llama.cpp open the GGUF files that Dure wrote, and give the same logits and greedy tokens?
# usage: tools/check_llama.sh MODEL [MODEL ...] [--tokens 32] [--bound 2e-5] [--text FILE]
# MODEL: a GGUF file, or a folder, which `dure convert` turns into one first. Needs build/release/dure (or DURE_BUILD).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
build=$(tools/peer_llama.sh peer)
exec python3 tools/check_llama.py --dure "${DURE_BUILD:-build/release}/dure" --llama "$build/llama_peer" "$@"

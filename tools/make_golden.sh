#!/usr/bin/env bash
# Makes the project's own goldens again: tests/golden/{hf,chat,gguf,quant,tokenizer}.
# usage: tools/make_golden.sh [OUT=tests/golden] [--only hf|chat|gguf|quant|tokenizer]
# Pinned packages in a venv outside the tree (5 GB, some minutes the first time). The same seeds give the same files.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
python=$(tools/peer_venv.sh torch)
out=tests/golden
if [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; then out=$1; shift; fi
exec "$python" tools/make_golden.py "$out" "$@"

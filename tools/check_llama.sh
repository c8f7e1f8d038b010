#!/usr/bin/env bash
# Does llama.cpp open the GGUF files that Dure wrote, and give the same logits and greedy tokens?
# usage: tools/check_llama.sh MODEL [MODEL ...] [--tokens 32] [--bound 2e-5]
# MODEL: a GGUF file, or a folder, which `dure convert` turns into one first. Needs build/release/dure (or DURE_BUILD).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
build=$(tools/peer_llama.sh llama)
source=$(dirname "$build")/llama_cpp_python-0.3.36/vendor/llama.cpp
program=$build/llama_logits
if [ ! -x "$program" ] || [ tools/llama_logits.cc -nt "$program" ]; then
  libraries=("$build"/src/libllama.a "$build"/ggml/src/libggml.a "$build"/ggml/src/libggml-cpu.a "$build"/ggml/src/libggml-base.a)
  g++ -std=c++17 -O1 -fopenmp -I "$source/include" -I "$source/ggml/include" tools/llama_logits.cc -o "$program" "${libraries[@]}" -lpthread -ldl
fi
exec python3 tools/check_llama.py --dure "${DURE_BUILD:-build/release}/dure" --llama "$program" "$@"

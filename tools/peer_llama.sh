#!/usr/bin/env bash
# llama.cpp 0.5.0, outside the tree; prints the folder of its build (bin/ has the programs, src/ and ggml/src/ the libraries).
# usage: build=$(tools/peer_llama.sh TARGET...)      such as llama-quantize, llama-perplexity, llama-bench, llama
# Taken from the source distribution of llama-cpp-python 0.3.36. Lies in ${XDG_CACHE_HOME:-~/.cache}/dure/llama, or in DURE_LLAMA: a folder with
# `build` and the unpacked distribution. About 15 minutes on two cores the first time.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
folder=${DURE_LLAMA:-${XDG_CACHE_HOME:-$HOME/.cache}/dure/llama}
mkdir -p "$folder"
source=$folder/llama_cpp_python-0.3.36/vendor/llama.cpp
if [ ! -d "$source" ]; then
  python3 -m venv "$folder/venv" >&2
  "$folder/venv/bin/python" -m pip install --quiet --no-input scikit-build-core==1.1.2 >&2
  "$folder/venv/bin/python" -m pip download --quiet --no-input --no-deps --no-build-isolation --no-binary :all: -d "$folder" llama-cpp-python==0.3.36 >&2
  tar -xf "$folder/llama_cpp_python-0.3.36.tar.gz" -C "$folder"
fi
[ -f "$folder/build/build.ninja" ] || cmake -G Ninja -S "$source" -B "$folder/build" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF \
  -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_BUILD_TESTS=OFF >&2
cmake --build "$folder/build" --target "$@" >&2
printf '%s\n' "$folder/build"

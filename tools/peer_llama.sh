#!/usr/bin/env bash
# llama.cpp 0.5.0, outside the tree; prints the folder of its build.
# usage: build=$(tools/peer_llama.sh TARGET...)
# TARGET: `source` alone (no build: prints the folder of its source), `peer` (its library, and llama_peer of tools/llama_peer.cc beside it), ggml-base, llama-quantize, llama-bench, ...
# Taken from the source distribution of llama-cpp-python 0.3.36. Lies in ${XDG_CACHE_HOME:-~/.cache}/dure/llama, or in DURE_LLAMA: a folder with
# `build` and the unpacked distribution. `peer` takes some ten minutes on two cores the first time.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,6s/^# //p' "$0" >&2; exit 2; }
cd "$(dirname "$(readlink -f "$0")")/.."
folder=${DURE_LLAMA:-${XDG_CACHE_HOME:-$HOME/.cache}/dure/llama}
build=$folder/build source=$folder/llama_cpp_python-0.3.36/vendor/llama.cpp
mkdir -p "$folder"
if [ ! -d "$source" ]; then
  python3 -m venv "$folder/venv" >&2
  "$folder/venv/bin/python" -m pip install --quiet --no-input scikit-build-core==1.1.2 >&2
  "$folder/venv/bin/python" -m pip download --quiet --no-input --no-deps --no-build-isolation --no-binary :all: -d "$folder" llama-cpp-python==0.3.36 >&2
  tar -xf "$folder/llama_cpp_python-0.3.36.tar.gz" -C "$folder"
fi
if [ "$*" = source ]; then
  printf '%s\n' "$source"
  exit
fi
[ -f "$build/build.ninja" ] || cmake -G Ninja -S "$source" -B "$build" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF \
  -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_BUILD_TESTS=OFF >&2
for target in "$@"; do
  cmake --build "$build" --target "${target/#peer/llama}" >&2
  [ "$target" = peer ] || continue
  [ tools/llama_peer.cc -nt "$build/llama_peer" ] || continue
  g++ -std=c++17 -O1 -fopenmp -I "$source/include" -I "$source/ggml/include" tools/llama_peer.cc -o "$build/llama_peer" \
    "$build"/src/libllama.a "$build"/ggml/src/libggml.a "$build"/ggml/src/libggml-cpu.a "$build"/ggml/src/libggml-base.a -lpthread -ldl >&2
done
printf '%s\n' "$build"

#!/usr/bin/env bash
# What sliding windows save: a four-layer slice of K-EXAONE's true shape with its pattern beside one with every layer global, and a
# training step; counted for the 236B and measured here. Prints the tables of docs/hybrid.md, writes their picture.
# usage: tools/bench_hybrid.sh [FOLDER=/tmp/dure-hybrid] [OUT.svg=FOLDER/hybrid.svg]
# Needs 12 GiB of disk and of memory, and six quiet minutes on two cores. Measured lines stay in FOLDER/*.jsonl: delete one to
# measure it again.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-/tmp/dure-hybrid} out=${2:-$folder/hybrid.svg} build=build/release
mkdir -p "$folder"
ninja -C $build dure bench_hybrid > /dev/null
# As many experts as make no difference to a token, which meets 8 of them: 2.6 GiB instead of 9.9.
slice="--layers 4 --experts 16 --type Q4_K"
[ -e "$folder/real.gguf" ] || $build/dure bench --make-slice "$folder/real.gguf" $slice
[ -e "$folder/global.gguf" ] || $build/dure bench --make-slice "$folder/global.gguf" $slice --pattern G
measure() {
  [ -s "$folder/$1.jsonl" ] && return
  $build/bench_hybrid "${@:2}" > "$folder/$1.part"
  mv "$folder/$1.part" "$folder/$1.jsonl"
}
measure engine engine "$folder/real.gguf" "$folder/global.gguf" 256 0,8192,32768,131072 5
measure engine-256k engine "$folder/real.gguf" "$folder/global.gguf" 256 262144 5
measure training-8k training 8192 2
measure training-16k training 16384 2
$build/bench_hybrid report "$out" "$folder"/*.jsonl

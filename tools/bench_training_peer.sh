#!/usr/bin/env bash
# A whole training step (forward, backward, clipping, AdamW; float32) beside PyTorch on the same shapes, alternating in one run.
# usage: tools/bench_training_peer.sh [a] [b] [c] [--rounds 5] [--seconds 2] [--threads N] [--lora RANK]      (default: a b)
# a: 8 layers of width 192, 16 x 256 tokens; b: recipes/nano, 8 x 256; c: 12 layers of width 512, 4 x 512.
# Builds bench_training; makes a venv outside the tree with pinned packages (5 GB, some minutes the first time).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
build=${DURE_BUILD:-build/release}
cmake --build "$build" --target bench_training -- --quiet >&2
python=$(tools/peer_venv.sh peft)
exec "$python" tools/bench_training_peer.py --bench "$build/bench_training" "$@"

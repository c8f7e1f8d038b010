#!/usr/bin/env bash
# Reads a run's event files with TensorBoard's own reader and compares every number with metrics.jsonl.
# usage: tools/check_tensorboard.sh RUN_FOLDER       (makes a venv outside the tree)
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
exec "$(tools/peer_venv.sh tensorboard)" tools/check_tensorboard.py "$@"

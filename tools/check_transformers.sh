#!/usr/bin/env bash
# Does transformers open what Dure released, without a warning, and continue it with the same tokens?
# usage: tools/check_transformers.sh FOLDER [FOLDER ...] [--tokens 64] [--prompts FILE.json]
# Needs build/release/dure (or DURE_BUILD). Makes a venv outside the tree with pinned packages (5 GB, some minutes the first time).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
python=$(tools/peer_venv.sh torch)
exec "$python" tools/check_transformers.py --dure "${DURE_BUILD:-build/release}/dure" "$@"

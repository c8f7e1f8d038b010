#!/usr/bin/env bash
# Do PEFT (on transformers) and llama.cpp open the adapters that Dure wrote, and give the same logits?
# usage: tools/check_peft.sh MODEL ADAPTER [--bound 2e-5] [--no-llama]
# MODEL: a Hugging Face folder. ADAPTER: a PEFT folder, as `dure train` with lora leaves it. Needs build/release/dure (or DURE_BUILD).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
python=$(tools/peer_venv.sh peft)
llama=
[[ " $* " == *" --no-llama "* ]] || llama=$(tools/peer_llama.sh peer)/llama_peer
exec "$python" tools/check_peft.py --dure "${DURE_BUILD:-build/release}/dure" --llama "$llama" "$@"

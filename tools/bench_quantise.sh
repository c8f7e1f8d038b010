#!/usr/bin/env bash
# Error of every block type on one model, `dure quantize` beside llama.cpp's quantiser: of the weights, and of the logits they give.
# usage: tools/bench_quantise.sh [MODEL.gguf TEXT.txt] [--types Q8_0,Q4_K,...]
# Without MODEL: a nano-like model of width 256 (K-quants need rows of 256) is trained for some minutes on runs/nano/corpus first.
# Needs build/release/dure (or DURE_BUILD) and llama.cpp (tools/peer_llama.sh).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
dure=${DURE_BUILD:-build/release}/dure
build=$(tools/peer_llama.sh peer)
python=$(tools/peer_venv.sh torch)
work=${DURE_BENCH_WORK:-runs/bench_quantise}
if [ $# -ge 2 ] && [ "${1#-}" = "$1" ]; then
  model=$1 text=$2; shift 2
else
  model=$work/model.gguf text=$work/heldout.txt
  if [ ! -f "$model" ]; then
    corpus=${DURE_CORPUS:-runs/nano/corpus} tokenizer=${DURE_TOKENIZER:-runs/nano/tokenizer}
    [ -d "$corpus" ] || { echo "bench_quantise.sh: run ./dev quickstart first: $corpus is not there" >&2; exit 2; }
    mkdir -p "$work"
    python3 -c 'import json, sys
for path in sys.argv[1:]:
    print(*(json.loads(line).get("text", "")[:1500] for line in open(path, encoding="utf-8")), sep="\n")' "$corpus"/heldout-*.jsonl > "$text"
    sed -e 's/hidden_size: 128/hidden_size: 256/; s/intermediate_size: 384/intermediate_size: 512/; s/head_dim: 32/head_dim: 64/; s/num_hidden_layers: 8/num_hidden_layers: 4/' \
      -e 's/num_experts: 16/num_experts: 8/; s/num_experts_per_tok: 4/num_experts_per_tok: 2/; s/moe_intermediate_size: 64/moe_intermediate_size: 256/' recipes/nano/pretrain.yaml > "$work/train.yaml"
    "$dure" train "$work/train.yaml" --set "output=$work/train" --set "tokenizer=$tokenizer" --set "data.corpus=$corpus" --set "steps=${DURE_BENCH_STEPS:-200}" >&2
    "$dure" convert "$work/train/model" "$model" --type f32 --force >&2
  fi
fi
exec "$python" tools/bench_quantise.py --dure "$dure" --llama "$build/llama_peer" "$model" "$text" "$@"

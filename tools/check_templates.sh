#!/usr/bin/env bash
# Renders public chat templates with jinja2, set up as transformers does, and with `dure render`: a dozen conversations each.
# usage: tools/check_templates.sh [--dure build/release/dure] [--show N]       (makes a venv and a cache outside the tree)
# The templates are those of llama.cpp's source (tools/peer_llama.sh): 70. Exit code 1 where a rendering differs.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
source=$(tools/peer_llama.sh source)
exec "$(tools/peer_venv.sh jinja2)" tools/check_templates.py "$source/models/templates" "$@"

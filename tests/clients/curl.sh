#!/usr/bin/env bash
# curl against a server: usage curl.sh URL MODEL
set -euo pipefail
url=$1 model=$2
ask="{\"model\": \"$model\", \"messages\": [{\"role\": \"user\", \"content\": \"the village\"}], \"max_tokens\": 8, \"temperature\": 0"
status() { curl -s -m 30 -o /dev/null -w '%{http_code}' "$@"; }
expect() { [ "$1" = "$2" ] || { echo "curl.sh: line ${BASH_LINENO[0]}: $1 instead of $2" >&2; exit 1; }; }
has() { grep -q -- "$2" <<< "$1" || { echo "curl.sh: line ${BASH_LINENO[0]}: no $2 in: $1" >&2; exit 1; }; }

expect "$(status "$url/health")" 200
expect "$(status -I "$url/health")" 200
has "$(curl -sf "$url/v1/models")" "\"id\":\"$model\""
has "$(curl -sf "$url/v1/chat/completions" -d "$ask}")" '"finish_reason"'                          # No content type: curl's own.
has "$(curl -sfN "$url/v1/chat/completions" -H 'Content-Type: application/json' -d "$ask, \"stream\": true}")" 'data: \[DONE\]'
has "$(curl -sf --http1.0 "$url/v1/chat/completions" -d "$ask}")" '"finish_reason"'
has "$(curl -sfN --http1.0 "$url/v1/chat/completions" -d "$ask, \"stream\": true}")" 'data: \[DONE\]'
has "$(curl -sf --compressed "$url/v1/completions" -d "{\"prompt\": \"the\", \"max_tokens\": 2}")" '"text_completion"'
expect "$(status "$url/v1/chat/completions" -d '{')" 400
expect "$(status "$url/v1/nothing")" 404
expect "$(status "$url/v1/chat/completions")" 405
expect "$(status -X OPTIONS "$url/v1/chat/completions")" 204
expect "$(status -H 'Host: evil.example' "$url/v1/models")" 403
# A body above a mebibyte, with Expect: 100-continue; in chunks; through a half-closed connection.
{ printf '%s, "metadata": {"x": "' "$ask"; head -c 2000000 /dev/zero | tr '\0' x; printf '"}}'; } > "${TMPDIR:-/tmp}/dure-curl-$$"
trap 'rm -f "${TMPDIR:-/tmp}/dure-curl-$$"' EXIT
expect "$(status "$url/v1/chat/completions" -H 'Expect: 100-continue' -d "@${TMPDIR:-/tmp}/dure-curl-$$")" 200
expect "$(status "$url/v1/chat/completions" -H 'Transfer-Encoding: chunked' -d "@${TMPDIR:-/tmp}/dure-curl-$$")" 200
has "$(curl -sf "$url/v1/models" --next -sf "$url/v1/models" --next -sf "$url/health")" '"status":"ok"'  # One connection.
echo "curl $(curl --version | head -1 | cut -d' ' -f2)"

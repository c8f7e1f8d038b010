#!/bin/sh
# Checks the masks of JSON Schemas against the `jsonschema` package: what random walks through the masks
# write must be valid, what the masks take of given instances must be valid, and what they refuse is
# counted. Makes a virtual environment with pinned packages; the public test suite comes from the same
# package's source archive.
#   tools/check_schemas.sh [BUILD_FOLDER [WORK_FOLDER]]
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$root/build/release}
work=${2:-/tmp/dure_check_schemas}
version=4.23.0
mkdir -p "$work"
if [ ! -x "$work/venv/bin/python" ]; then
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install -q "jsonschema==$version" "rfc3339-validator==0.1.4" \
    "hypothesis==6.112.1" "hypothesis-jsonschema==0.23.1"
fi
if [ ! -d "$work/suite" ]; then
  "$work/venv/bin/pip" download -q --no-deps --no-binary jsonschema -d "$work" "jsonschema==$version"
  tar -xzf "$work/jsonschema-$version.tar.gz" -C "$work"
  mv "$work/jsonschema-$version/json/tests/draft2020-12" "$work/suite"
fi
cmake --build "$build" --target bench_schema_walks
exec "$work/venv/bin/python" "$root/tools/check_schemas.py" "$build/bench_schema_walks" "$work/suite"

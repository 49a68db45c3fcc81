#!/bin/sh
# Every answer is as docs/openapi.yaml says, and every path of it is there.
python=/usr/bin/python3
if ! "$python" -c 'import jsonschema, yaml' 2>/dev/null; then
    echo "1..0 # SKIP $python with jsonschema and yaml is not there (Debian: python3-jsonschema, python3-yaml)"
    exit 0
fi
# Scales that are there already, in a folder of its own: new generations outlive the daemon.
cache=$(mktemp -d)
trap 'rm -rf "$cache"' EXIT
for entry in "${QD_BUILD:?run by make check}"/tests/e2e/cache/*.json; do
    case $entry in *.g*.json | *'*'*) ;; *) cp "$entry" "$cache" ;; esac
done
"$python" "${QD_SRC:?run by make check}/tests/e2e/openapi_calls.py" "$QD_BUILD/quantd" "$QD_SRC" "$cache"

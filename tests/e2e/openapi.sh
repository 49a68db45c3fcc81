#!/bin/sh
# Every answer is as docs/openapi.yaml says, and every path of it is there.
python=/usr/bin/python3
if ! "$python" -c 'import jsonschema, yaml' 2>/dev/null; then
    echo "1..0 # SKIP $python with jsonschema and yaml is not there (Debian: python3-jsonschema, python3-yaml)"
    exit 0
fi
exec "$python" "${QD_SRC:?run by make check}/tests/e2e/openapi_calls.py" "${QD_BUILD:?run by make check}/quantd" "$QD_SRC" \
    "$QD_BUILD/tests/e2e/cache"

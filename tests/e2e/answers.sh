#!/bin/sh
# What all the other tests were answered is as docs/openapi.yaml says; it runs after them.
python=/usr/bin/python3
if ! "$python" -c 'import jsonschema, yaml' 2>/dev/null; then
    echo "1..0 # SKIP $python with jsonschema and yaml is not there (Debian: python3-jsonschema, python3-yaml)"
    exit 0
fi
"$python" "${QD_SRC:?run by make check}/tests/e2e/answers.py" "$QD_SRC/docs/openapi.yaml" "${QD_BUILD:?run by make check}/tests/e2e/answers"

#!/bin/sh
# docs/openapi.yaml is whole and true to itself; what the daemon answers is checked against it by tests/e2e/openapi.sh.
python=/usr/bin/python3
if ! "$python" -c 'import jsonschema, yaml' 2>/dev/null; then
    echo "1..0 # SKIP $python with jsonschema and yaml is not there (Debian: python3-jsonschema, python3-yaml)"
    exit 0
fi
version=$("${QD_BUILD:?run by make check}/quantd" --version | sed 's/.* //')
exec "$python" "${QD_SRC:?run by make check}/tests/e2e/openapi.py" "$QD_SRC/docs/openapi.yaml" "$version"

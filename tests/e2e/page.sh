#!/bin/sh
# The status page in a real browser.
if ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null; then
    echo "1..0 # SKIP no chromium is there (Debian: chromium): the status page was tested in no browser"
    exit 0
fi
# Scales that are there already, in a folder of its own: new generations outlive the daemon.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/cache"
for entry in "${QD_BUILD:?run by make check}"/tests/e2e/cache/*.json; do
    case $entry in *.g*.json | *'*'*) ;; *) cp "$entry" "$work/cache" ;; esac
done
/usr/bin/python3 "${QD_SRC:?run by make check}/tests/e2e/page.py" "$QD_BUILD/quantd" "$QD_SRC" "$work"

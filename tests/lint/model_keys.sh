#!/bin/sh
# Every key that the reader of model.json takes has an entry in docs/quantd-model.json.5, and none has that it refuses.
: "${QD_SRC:?run by make check}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo 1..2
cat "$QD_SRC"/src/serve/model_*.c | grep -oE '\{"[a-z0-9_]+", (read|qd_key)_[a-z_]+\}' | cut -d '"' -f 2 | sort >"$work/read"
awk '/^\.SH/ {keys = /^\.SH (KEYS|PREPROCESS|CALIBRATION|EVALUATION|GATE)$/} keys && was == ".TP" {print} {was = $0}' \
    "$QD_SRC/docs/quantd-model.json.5" | sed 's/^\.BR* //; s/ ", " /\n/' | sort >"$work/written"
if test "$(wc -l <"$work/read")" -ge 28; then echo "ok 1 - finds the keys"; else echo "not ok 1 - finds the keys"; fi
if diff "$work/read" "$work/written"; then
    echo "ok 2 - docs/quantd-model.json.5 has the keys that model.json takes"
else
    echo "not ok 2 - docs/quantd-model.json.5 has the keys that model.json takes"
fi

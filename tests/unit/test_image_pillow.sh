#!/bin/sh
# What the network reads against what Pillow and torchvision's arithmetic give.
src=${QD_SRC:-.}
dump=${QD_BUILD:-.}/tests/unit/preprocess_dump
python=/usr/bin/python3

if ! "$python" -c 'import PIL, numpy' 2>/dev/null; then
    echo "1..0 # SKIP $python with Pillow and numpy is not there (Debian: python3-pil, python3-numpy)"
    exit 0
fi
set -- "$dump" "$src/tests/data/images"
[ -d "$src/../shared/zoo/images" ] && set -- "$@" "$src/../shared/zoo"
exec "$python" "$src/tests/unit/compare_pillow.py" "$@"

#!/bin/sh
# What people put into a calibration folder: broken, grey, CMYK and double pictures, hardly any, none.
. "${QD_SRC:?}/tests/e2e/lib.sh"
echo 1..20
images=$QD_SRC/tests/data/images
# folder NAME N: a new folder with N of the model's own pictures.
folder() {
    dir=$work/$1
    mkdir "$dir"
    ls "$model/calibration" | head -n "$2" | while read -r file; do cp "$model/calibration/$file" "$dir"; done
}
# calibrate: with the folder; the exit code in $code, everything printed in $work/body.
calibrate() {
    code=0
    "$quantd" calibrate "$model" --calibration "$dir" >"$work/body" 2>&1 || code=$?
}
# succeeds NAME TEXT, fails NAME TEXT
succeeds() { calibrate; check "$1" test "$code" = 0; check "  says so" body_has "$2"; }
fails() { calibrate; check "$1" test "$code" = 1; check "  says so" body_has "$2"; }

folder good 40
calibrate
check "good pictures pass without a word" sh -c '! grep -q "^quantd:" "$1"' - "$work/body"

folder mixed 40
head -c 300 "$picture" >"$dir/cut.jpg"
printf 'no picture at all' >"$dir/text.png"
: >"$dir/empty.jpg"
cp "$images/refused_cmyk.jpg" "$images/grey.jpg" "$images/rgb_420.jpg" "$images/rgb_progressive.jpg" "$images/rgba_alpha.png" "$dir"
succeeds "broken and CMYK pictures are skipped, grey and colour ones count" "4 of 48 calibration pictures cannot be read and do not count; the first: '$dir/"
start --cache "$work/cache"
curl -sS -d "{\"images\":\"$dir\"}" "$url/recalibrate" >"$work/body"
until_logged() { for _ in $(seq 600); do grep -q "4 of 48 calibration pictures cannot be read" "$work/log" && return 0; sleep 0.1; done; cat "$work/log"; return 1; }
check "  and in the daemon's log" until_logged
stop

folder cmyk 0
cp "$images/refused_cmyk.jpg" "$dir"
fails "nothing but a CMYK picture" "'$dir/refused_cmyk.jpg': JPEG picture: expected grey or RGB colours, found CMYK with 4 components"

folder double 40
cp "$picture" "$dir/one.jpg"
cp "$picture" "$dir/two.jpg"
cp "$picture" "$dir/three.jpg"
succeeds "the same picture three times" "2 calibration pictures have the same content as others and do not count"
counts() { test $(($(sed -n 's/.* on \([0-9]*\) pictures (.*/\1/p' "$work/body") + $(sed -n 's/^gate on \([0-9]*\) .*/\1/p' "$work/body"))) = "$1"; }
check "  counts once" counts 41

folder three 3
succeeds "three pictures" "only 3 calibration pictures, where some hundred are wanted"
check "  and that they test themselves" body_has "no calibration pictures are held back"

folder few 12
succeeds "twelve pictures" "only 12 calibration pictures, where some hundred are wanted"

folder empty 0
fails "an empty folder" "expected *.jpg, *.jpeg or *.png in the image folder '$dir', found none"

folder broken 0
for i in 1 2 3; do head -c $((300 + i)) "$picture" >"$dir/$i.jpg"; done
fails "no readable picture" "none of 3 calibration pictures can be read; the first: '$dir/"

# Who is held back is chosen by content: a hash that ends in 0, 4, 8 or c.
held_back() { sha256sum <"$1" | grep -q '[048c]  -$'; }
folder gate 40
for file in "$dir"/*; do held_back "$file" && rm "$file"; done
for i in $(seq 20); do echo "broken $i" >"$dir/$i.jpg"; held_back "$dir/$i.jpg" || rm "$dir/$i.jpg"; done
succeeds "no readable picture among those held back" "no calibration pictures are held back"

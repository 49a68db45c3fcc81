#!/bin/sh
# The layer report: the same facts as a table, as JSON, as a page and from the daemon.
. "${QD_SRC:?}/tests/e2e/lib.sh"
echo 1..14
"$quantd" calibrate "$model" --limit 60 >"$work/body" 2>"$work/stderr"
cp "$work/body" "$work/table"
check "no line is wider than 120" awk 'length($0) > 120 { print; bad = 1 } END { exit bad }' "$work/table"
check "no bar where stderr is no terminal" test ! -s "$work/stderr"
check "on a terminal a bar no wider than it, wiped at the end" python3 -c '
import fcntl, os, pty, re, struct, subprocess, sys, termios
leader, follower = pty.openpty()
fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 90, 0, 0))
program = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=follower, env=dict(os.environ, TERM="xterm"))
os.close(follower)
text = b""
while True:
    try:
        some = os.read(leader, 65536)
    except OSError:
        break
    if not some:
        break
    text += some
assert program.wait() == 0
assert text.endswith(b"\r\033[K"), text[-80:]
lines = [l.replace("\033[K", "") for l in text.decode().split("\r") if l.strip("\033[K")]
assert lines and all(len(l) < 90 for l in lines), lines
assert all(re.search(r"\[#* *\] +\d+ %  \d+:\d\d(, about \d+ (s|min) left)?$", l) for l in lines), lines
' "$quantd" calibrate "$model" --limit 60
stages_stand() { for s in weights 'channel steps' equalisation 'greedy scales' 'bias correction' global 'class scale'; do
    grep -qE "^  $s +(kept|undone) +[-0-9.]+, +[-0-9.]+ -> " "$work/table" || { echo "no $s"; return 1; }; done; }
check "each stage, kept or undone, before and after" stages_stand
check "the worst, the most sensitive, time and memory" sh -c 'grep -q "^worst layers: .* dB; " "$1" && grep -q "^most sensitive: .* KL " "$1" &&
    grep -qE "^calibrated in [0-9.]+ s(, peak memory [0-9]+ MiB)?$" "$1"' - "$work/table"
check "why a layer is in fp32" grep -q '^in fp32: /Softmax (the operator has no int8 form)' "$work/table"
page() { python3 "$QD_SRC/tests/e2e/report_page.py" "$@"; }
"$quantd" calibrate "$model" --limit 60 --json --plot "$work/plot.html" >"$work/json" 2>"$work/stderr"
check "--plot: a well-formed page of its own, every layer in it" page "$work/plot.html" "$work/json"
check "JSON: every layer with what was found" python3 -c '
import json, sys
r = json.load(open(sys.argv[1]))
layers = [l for l in r["layers"] if l["op"] == "Conv"]
assert len(layers) == 18 and r["profile"] == "default" and r["seconds"] > 0, r
stepped = 0
for l in layers:
    assert l["precision"] == "int8" and l["macs"] > 0 and l["us"] > 0 and l["weight_bits"] == 8, l
    assert l["lowest_level"] <= 0 < l["highest_level"] and l["min"] <= 0 < l["max"] and 0 <= l["clip_ratio"] < 0.01, l
    assert 0 < sum(l["histogram"]) <= 1000032 and len(l["histogram"]) == 64, l
    assert l["sqnr_db"] > 20 and (l["weights_sqnr_db"] is None or l["weights_sqnr_db"] > 20), l
    assert 10 < l["cumulative_sqnr_db"] < l["sqnr_db"] + 6, l
    steps = l["channel_steps"]
    stepped += steps is not None
    assert steps is None or 0 < steps["least"] < steps["largest"] <= 1.001, l
assert stepped > 0
ranked = sorted((l for l in r["layers"] if l.get("sensitivity_rank")), key=lambda l: l["sensitivity_rank"])
assert len(ranked) == 19 and [l["name"] for l in ranked] == r["most_sensitive"], r["most_sensitive"]
assert all(a["sensitivity_kl"] >= b["sensitivity_kl"] for a, b in zip(ranked, ranked[1:])), ranked
names = {l["name"]: l for l in r["layers"]}
worst = [names[n]["cumulative_sqnr_db"] for n in r["worst"]]
assert worst == sorted(worst) and len(worst) >= 20, worst
' "$work/json"
"$quantd" calibrate "$model" --limit 60 --method minmax --json >"$work/json" 2>"$work/stderr"
check "  and a method that measures no sensitivity says so" python3 -c '
import json, sys
r = json.load(open(sys.argv[1]))
assert r["most_sensitive"] == [] and r["stages"] == [], r
assert all(l["sensitivity_kl"] is None and l["sensitivity_rank"] is None for l in r["layers"] if l["op"] == "Conv")
' "$work/json"
# A model whose author means harm: the name goes into the page as text, and to the terminal without its escapes.
hostile=$(printf '</script><i onload=x>\033[2J"&')
mkdir -p "$work/m/1"
cp "$model/model.json" "$model/labels.txt" "$work/m"
ln -s "$model/calibration" "$model/evaluation" "$model/evaluation.tsv" "$work/m"
python3 "$QD_SRC/tests/e2e/rename_node.py" "$model/1/model.onnx" "$work/m/1/model.onnx" /net/features/features.11/Conv "$hostile"
"$quantd" calibrate "$work/m" --limit 12 --json --plot "$work/plot.html" >"$work/json" 2>"$work/stderr"
check "a hostile name does no harm to the page" page "$work/plot.html" "$work/json" "$hostile"
"$quantd" calibrate "$work/m" --limit 12 --method minmax >"$work/body" 2>"$work/stderr"
check "  nor to the terminal" sh -c '! grep -q "$(printf "\033")" "$1" && grep -qF "<i onload=x>?[2J" "$1"' - "$work/body"
"$quantd" calibrate "$model" --limit 12 --method minmax --plot "$work/none/plot.html" >"$work/body" 2>&1
check "a page that cannot be written is an error" test $? = 1
"$quantd" calibrate "$model" --compare --plot "$work/plot.html" >"$work/body" 2>&1
check "--compare has no page" body_has "expected one method"
start
ask "$url/models/fashion-mnist/layers"
check "the daemon gives the same" python3 -c '
import json, sys
r = json.load(open(sys.argv[1]))
assert r["generation"] == 1 and r["tensors"] and r["most_sensitive"] and len(r["layers"]) > 20, r
assert {"name", "op", "precision", "tensor", "macs", "sqnr_db", "cumulative_sqnr_db", "histogram"} <= set(r["layers"][1])
' "$work/body"

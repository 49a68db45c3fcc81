#!/usr/bin/env python3
"""Makes docs/accuracy.md: every classifier of model repositories through 'quantd evaluate'.

Usage: bench/accuracy.py QUANTD REPOSITORY... >docs/accuracy.md
LIMIT=N: at most N evaluation pictures each. accuracy_notes.md, beside this script, is written by hand and comes last. Standard
library only.
"""
import json
import os
import subprocess
import sys
import tempfile

FORMS = [("default", []), ("strict_pot", ["--profile", "strict_pot"]), ("multiplier_bits 1", ["--multiplier-bits", "1"])]
BITS = [(6, 6), (4, 8), (8, 4), (4, 4)]  # weights, activations
BITS_MODELS = ("resnet20_cifar10", "tiny_darknet", "mobilenet_v2_1.0_224_tflite_qat")
# The best that ONNX Runtime 1.30's own tool makes of the same networks: calibrator, top-1 less fp32's, agreement, SQNR dB.
# 100 calibration pictures; 1300 evaluated ones, of which quantd's are half, or 2000 of CIFAR-10.
ORT = {
    "mlperf_tiny_resnet8_cifar10": ("percentile 99.99", 0.35, 96.8, 30.0),
    "mobilenet_v1_0.75_224": ("minmax", -1.77, 93.9, 16.7),
    "mobilenet_v2_1.0_224_tflite_qat": ("percentile 99.999", -0.07, 95.6, 18.1),
    "mobilenet_v3_small": ("percentile 99.99", -7.15, 81.3, 4.7),
    "resnet20_cifar10": ("percentile 99.999", 0.35, 98.6, 29.4),
    "squeezenet1.1": ("entropy", -0.92, 96.7, 35.1),
    "tiny_darknet": ("percentile 99.999", -2.00, 90.9, 18.6),
}


def run(quantd, command, model, *options):
    limit = os.environ.get("LIMIT")
    if limit:
        options += ("--evaluate" if command == "calibrate" else "--limit", limit)
    done = subprocess.run([quantd, command, model, *options], capture_output=True, text=True)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return None
    return done.stdout


def evaluate(quantd, model, *options):
    text = run(quantd, "evaluate", model, "--json", *options)
    return json.loads(text) if text else None


def percent(share):
    return f"{100 * share:.2f} %"


def row(cells):
    print("| " + " | ".join(cells) + " |", flush=True)


def head(names):
    row(names)
    print("|" + " --- |" * len(names))


def print_beside_ort(results):
    print("## Beside ONNX Runtime\n")
    print("The fp32 networks quantized by ONNX Runtime 1.30's own tool with the calibrator of most SQNR (u8 activations, s8 weights per")
    print("channel, 100 pictures; evaluated on 1300 ImageNet pictures, of which quantd's are half, or 2000 of CIFAR-10).\n")
    head(["network", "its best", "SQNR dB", "agreement", "top-1 less fp32's", "adlq SQNR dB", "agreement", "top-1 less fp32's", "gain dB"])
    for r in results:
        if r["model"] not in ORT:
            continue
        name, top1, agreement, db = ORT[r["model"]]
        row([r["model"], name, f"{db:.1f}", f"{agreement:.1f} %", f"{top1:+.2f}", f"{r['sqnr_db']:.1f}", percent(r["agreement"]),
             f"{100 * (r['int8']['top1'] - r['fp32']['top1']):+.2f}", f"{r['sqnr_db'] - db:+.1f}"])
    print()


def main():
    quantd, repositories = sys.argv[1], sys.argv[2:]
    models = [os.path.join(r, m) for r in repositories for m in sorted(os.listdir(r))
              if os.path.exists(os.path.join(r, m, "evaluation.tsv"))]
    print("# Accuracy\n")
    print("Calibrated on each model's own pictures, compared with fp32 on its evaluation set. SQNR (mean over pictures) and")
    print("KL are of the output in front of the softmax. Made by")
    print("`bench/accuracy.py build/quantd models ../shared/zoo/models >docs/accuracy.md`.\n")
    defaults = {}
    for name, options in FORMS:
        print(f"## adlq, {name}{' (`' + ' '.join(options) + '`)' if options else ''}\n")
        head(["network", "pictures", "fp32 top-1", "int8 top-1", "agreement", "SQNR dB", "KL", "MACs in int8", "seconds"])
        for model in models:
            r = evaluate(quantd, model, *options)
            if not r:
                continue
            if r["stages"]:  # a network that brings its own scales has none
                defaults.setdefault(model, r)
            row([r["model"], str(r["images"]), percent(r["fp32"]["top1"]), percent(r["int8"]["top1"]),
                 percent(r["agreement"]), f"{r['sqnr_db']:.1f}", f"{r['kl']:.4f}", percent(r["int8_share_of_macs"]),
                 f"{r['calibration_seconds']:.0f}"])
        print()
    print("## Stage by stage\n")
    print("On the calibration pictures, `default`: output SQNR (mean of both halves) and agreement with that stage tried;")
    print("a stage in brackets was undone. The first figure is the histogram's scales and weights rounded to nearest.\n")
    head(["network", "dB, then stage dB / agreement"])
    for r in defaults.values():
        cells = [f"{sum(r['stages'][0]['before_db']) / 2:.1f}"]
        for s in r["stages"]:
            cell = f"{s['name']} {sum(s['after_db']) / 2:.1f} / {percent(s['agreement'])}"
            cells.append(cell if s["kept"] else f"({cell})")
        row([r["model"], ", ".join(cells)])
    print()
    print_beside_ort(defaults.values())
    print("## Methods\n")
    for model in defaults:
        with tempfile.NamedTemporaryFile(suffix=".md") as out:
            if run(quantd, "calibrate", model, "--compare", "--output", out.name):
                print(f"### {os.path.basename(model)}\n")
                print("".join(line for line in open(out.name) if line.startswith("|")), flush=True)
    print("## Fewer bits\n")
    print("W weights, A activations; nearest: no stage, weights rounded to nearest.\n")
    head(["network", "bits", "adlq: SQNR dB / agreement", "nearest"])
    for model in defaults:
        if os.path.basename(model) not in BITS_MODELS:
            continue
        for w, a in BITS:
            options = ["--weight-bits", str(w), "--activation-bits", str(a)]
            both = [evaluate(quantd, model, *options), evaluate(quantd, model, *options, "--stages", "0")]
            if all(both):
                row([os.path.basename(model), f"W{w}A{a}"] +
                    [f"{r['sqnr_db']:.1f} / {percent(r['agreement'])}" for r in both])
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "accuracy_notes.md"), encoding="utf-8") as notes:
        print("\n" + notes.read(), end="")


if __name__ == "__main__":
    main()

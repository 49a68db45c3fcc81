"""quantd and ONNX Runtime on one network and the same pictures; what detectors.py and ocr.py share. Standard library
and numpy."""
import json
import os
import subprocess

import numpy

HERE = os.path.dirname(os.path.abspath(__file__))


def make_folder(folder, onnx, config, pictures, calibration, method="adlq"):
    """A model folder for an ONNX file, evaluated on a folder of pictures."""
    os.makedirs(os.path.join(folder, "1"))
    os.symlink(os.path.abspath(onnx), os.path.join(folder, "1", "model.onnx"))
    names = sorted(n for n in os.listdir(pictures) if n.lower().endswith((".jpg", ".jpeg", ".png")))
    config = dict(config, calibration={"images": os.path.abspath(calibration), "method": method},
                  evaluation={"images": os.path.abspath(pictures), "labels": "evaluation.tsv"})
    with open(os.path.join(folder, "model.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    with open(os.path.join(folder, "evaluation.tsv"), "w", encoding="utf-8") as file:
        file.writelines(f"{name}\t0\n" for name in names)
    return len(names)


def dump(program, folder, out, n, *options):
    """Runs dump_outputs; what it prints."""
    done = subprocess.run([program, folder, out, str(n), *options], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{folder}: {done.stderr.strip()}")
    return done.stdout.strip()


def outputs(out, n):
    return [numpy.fromfile(os.path.join(out, f"{i}.out"), numpy.float32) for i in range(n)]


def compare_fp32(folder, out, n, c, h, w):
    """compare.js: True where every output is ONNX Runtime's within 0.1 % of the largest."""
    done = subprocess.run(["node", os.path.join(HERE, "compare.js"), os.path.join(folder, "1", "model.onnx"), out, str(n),
                           str(c), str(h), str(w)], capture_output=True, text=True)
    print("  fp32 against ONNX Runtime: " + (done.stdout.strip() or done.stderr.strip()))
    return done.returncode == 0


def sqnr(reference, found):
    signal = sum(float((a.astype(numpy.float64) ** 2).sum()) for a in reference)
    noise = sum(float(((a.astype(numpy.float64) - b) ** 2).sum()) for a, b in zip(reference, found))
    return 10 * numpy.log10(signal / noise) if noise else float("inf")

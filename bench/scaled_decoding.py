#!/usr/bin/python3
"""What "decode": "scaled" costs in accuracy: bench/scaled_decoding.py DUMP_OUTPUTS MODEL... [--side N --images N --limit N]

For every model folder its evaluation pictures, enlarged (Pillow, bicubic, JPEG at 90, 4:2:0) until their shorter side is N
pixels, run three ways: fp32 of full decoding, int8 of full decoding, int8 of scaled decoding, each int8 with its own
calibration. Prints top-1 of each, and agreement and SQNR of both int8 runs against the fp32 one. python3-pil, python3-numpy."""
import argparse
import json
import os
import subprocess
import tempfile

import numpy as np
from PIL import Image


def enlarge(folder, names, side, out):
    os.mkdir(out)
    for name in names:
        image = Image.open(os.path.join(folder, name)).convert("RGB")
        scale = side / min(image.size)
        image = image.resize([max(side, round(length * scale)) for length in image.size], Image.BICUBIC)
        image.save(os.path.join(out, name), "JPEG", quality=90, subsampling=2)


def make_model(model, config, images, labels, decode, out):
    """A folder beside the original: its files by links, its model.json with other pictures and decoding."""
    os.mkdir(out)
    for name in os.listdir(model):
        if name != "model.json":
            os.symlink(os.path.join(model, name), os.path.join(out, name))
    config = json.loads(json.dumps(config))
    config["preprocess"]["decode"] = decode
    config["calibration"]["images"] = os.path.join(model, config["calibration"]["images"])
    config["evaluation"] = {"images": images, "labels": labels}
    with open(os.path.join(out, "model.json"), "w") as file:
        json.dump(config, file)


def outputs(dump, model, n, work, *how):
    out = os.path.join(work, "out")
    subprocess.run([dump, model, out, str(n), *how], check=True, stdout=subprocess.DEVNULL)
    return np.stack([np.fromfile(os.path.join(out, "%d.out" % i), np.float32) for i in range(n)])


def measure(args, model, work):
    with open(os.path.join(model, "model.json")) as file:
        config = json.load(file)
    with open(os.path.join(model, config["evaluation"]["labels"])) as file:
        rows = [line.split() for line in file][:args.images]
    images, labels = os.path.join(work, "images"), os.path.join(work, "labels.tsv")
    enlarge(os.path.join(model, config["evaluation"]["images"]), [row[0] for row in rows], args.side, images)
    with open(labels, "w") as file:
        file.writelines("%s\t%s\n" % tuple(row[:2]) for row in rows)
    full, scaled = os.path.join(work, "full"), os.path.join(work, "scaled")
    make_model(model, config, images, labels, "full", full)
    make_model(model, config, images, labels, "scaled", scaled)
    int8 = ("int8", os.path.join(work, "cache"), str(args.limit))
    reference = outputs(args.dump, full, len(rows), work)
    runs = {"fp32, full": reference, "int8, full": outputs(args.dump, full, len(rows), work, *int8),
            "fp32, scaled": outputs(args.dump, scaled, len(rows), work),
            "int8, scaled": outputs(args.dump, scaled, len(rows), work, *int8)}
    truth = np.loadtxt(os.path.join(work, "out", "labels"), dtype=int)
    for name, run in runs.items():
        best, noise = run.argmax(1), float(((run - reference) ** 2).sum())
        sqnr = 10 * np.log10(float((reference ** 2).sum()) / noise) if noise else float("inf")
        print("| %s | %d | %s | %.4f | %.4f | %.2f |" % (os.path.basename(model), args.side, name, (best == truth).mean(),
                                                      (best == reference.argmax(1)).mean(), sqnr), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dump")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--side", type=int, default=512, help="shorter side of the pictures")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--limit", type=int, default=0, help="of calibration pictures")
    args = parser.parse_args()
    print("| network | side | run | top-1 | agreement with fp32, full | SQNR dB |\n| --- | --- | --- | --- | --- | --- |")
    for model in args.models:
        with tempfile.TemporaryDirectory() as work:
            measure(args, os.path.abspath(model), work)


if __name__ == "__main__":
    main()

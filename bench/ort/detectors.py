#!/usr/bin/python3
"""The zoo's detectors: fp32 against ONNX Runtime, int8's outputs and boxes against fp32's.

Usage: bench/ort/detectors.py DUMP_OUTPUTS ZOO     (make bench/dump_outputs; npm install --ignore-scripts in bench/ort)
Needs node and python3-numpy. A box of fp32 over score 0.4 (after suppression of overlaps above 0.45, class by class)
matches where int8 has one of the same class over 0.25 with an IoU of at least 0.9. Exit code 1 where fp32 is off by more
than 1e-3, SQNR is under 20 dB, or fewer than 90 % of the boxes match.
"""
import os
import sys
import tempfile
import json

import numpy

import against


def sigmoid(x):
    return 1 / (1 + numpy.exp(-x))


def decode_yolox(out, h, w):
    """[3549, 85]: centre, size, object, 80 classes; strides 8, 16, 32 (YOLOX's demo)."""
    rows = out.reshape(-1, 85).astype(numpy.float64)
    cells, strides = [], []
    for stride in (8, 16, 32):
        y, x = numpy.meshgrid(numpy.arange(h // stride), numpy.arange(w // stride), indexing="ij")
        cells.append(numpy.stack([x.ravel(), y.ravel()], 1))
        strides.append(numpy.full((x.size, 1), stride))
    cells, strides = numpy.concatenate(cells), numpy.concatenate(strides)
    centre, size = (rows[:, :2] + cells) * strides, numpy.exp(rows[:, 2:4]) * strides
    scores = rows[:, 4:5] * rows[:, 5:]
    return numpy.concatenate([centre - size / 2, centre + size / 2], 1), scores


def decode_fastestdet(out, h, w):
    """[85, 22, 22]: object, offsets (tanh), size (sigmoid), 80 classes (FastestDet's demo)."""
    maps = out.reshape(85, 22, 22).astype(numpy.float64)
    y, x = numpy.meshgrid(numpy.arange(22), numpy.arange(22), indexing="ij")
    cx, cy = (x + numpy.tanh(maps[1])) / 22 * w, (y + numpy.tanh(maps[2])) / 22 * h
    bw, bh = sigmoid(maps[3]) * w, sigmoid(maps[4]) * h
    boxes = numpy.stack([cx - bw / 2, cy - bh / 2, cx + bw / 2, cy + bh / 2], -1).reshape(-1, 4)
    scores = maps[0:1] ** 0.6 * maps[5:] ** 0.4
    return boxes, scores.reshape(80, -1).T


def iou(a, b):
    low, high = numpy.maximum(a[:2], b[:, :2]), numpy.minimum(a[2:], b[:, 2:])
    both = numpy.prod(numpy.clip(high - low, 0, None), 1)
    return both / (numpy.prod(a[2:] - a[:2]) + numpy.prod(b[:, 2:] - b[:, :2], 1) - both)


def detect(boxes, scores, threshold):
    """(class, score, box), overlaps suppressed."""
    found = []
    for c in range(scores.shape[1]):
        order = [i for i in numpy.argsort(-scores[:, c]) if scores[i, c] > threshold]
        while order:
            best = order.pop(0)
            found.append((c, scores[best, c], boxes[best]))
            if order:
                overlaps = iou(boxes[best], boxes[order])
                order = [i for i, o in zip(order, overlaps) if o <= 0.45]
    return found


def match(reference, found, decode, h, w):
    matched = total = 0
    for a, b in zip(reference, found):
        others = detect(*decode(b, h, w), 0.25)
        for c, _, box in detect(*decode(a, h, w), 0.4):
            same = [o[2] for o in others if o[0] == c]
            total += 1
            matched += bool(same) and float(iou(box, numpy.array(same)).max()) >= 0.9
    return matched, total


def main():
    program, zoo = sys.argv[1], sys.argv[2]
    well = True
    for name, decode in (("yolox_nano", decode_yolox), ("fastestdet", decode_fastestdet)):
        with open(os.path.join(zoo, "models", name, "model.json"), encoding="utf-8") as file:
            config = {"preprocess": json.load(file)["preprocess"]}
        h, w = config["preprocess"]["size"]
        with tempfile.TemporaryDirectory() as scratch:
            folder = os.path.join(scratch, name)
            n = against.make_folder(folder, os.path.join(zoo, "models", name, "1", "model.onnx"), config,
                                    os.path.join(zoo, "images", "coco"),
                                    os.path.join(zoo, "images", "imagenet-calibration"))
            print(f"{name}, {n} photos")
            against.dump(program, folder, scratch + "/fp32", n)
            well = against.compare_fp32(folder, scratch + "/fp32", n, 3, h, w) and well
            print("  " + against.dump(program, folder, scratch + "/int8", n, "int8"))
            reference, found = against.outputs(scratch + "/fp32", n), against.outputs(scratch + "/int8", n)
            db = against.sqnr(reference, found)
            matched, total = match(reference, found, decode, h, w)
            print(f"  int8 against fp32: {db:.1f} dB, {matched} of {total} boxes match")
            well = well and db >= 20 and matched >= 0.9 * total
    return not well


if __name__ == "__main__":
    sys.exit(main())

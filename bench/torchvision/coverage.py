#!/usr/bin/python3
"""torchvision's networks through quantd: what loads, whether fp32 is PyTorch's, how much runs in int8.

Usage: bench/torchvision/coverage.py DUMP_OUTPUTS [NETWORK...] [--opsets 9,13,17] [--pictures N] [--keep DIR]
       [--markdown docs/coverage.md]
DUMP_OUTPUTS is the program bench/dump_outputs. Needs Debian's python3-torchvision, python3-onnx and python3-pil;
downloads nothing. Weights are random, as bench/torchvision/export.py has them. A row per network: the largest difference
from PyTorch, relative to the largest output, by opset; at the last opset SQNR of int8 against fp32 and the share of
multiply-accumulates in int8. Calibration is on 8 pictures, method mse; where that gives less than 15 dB adlq, marked so.
Exit code 1 where a network that PyTorch exports does not load, is off by more than 1e-3, or comes below 15 dB.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy
import torch
import torchvision
from PIL import Image

import export

CLASSIFIERS = """alexnet vgg11 vgg13 vgg16 vgg19 vgg11_bn vgg13_bn vgg16_bn vgg19_bn resnet18 resnet34 resnet50 resnet101
resnet152 resnext50_32x4d resnext101_32x8d resnext101_64x4d wide_resnet50_2 wide_resnet101_2 squeezenet1_0 squeezenet1_1
densenet121 densenet161 densenet169 densenet201 googlenet inception_v3 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large
mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3 shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0
efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5 efficientnet_b6
efficientnet_b7 efficientnet_v2_s efficientnet_v2_m efficientnet_v2_l regnet_x_400mf regnet_x_800mf regnet_x_1_6gf
regnet_x_3_2gf regnet_x_8gf regnet_x_16gf regnet_x_32gf regnet_y_400mf regnet_y_800mf regnet_y_1_6gf regnet_y_3_2gf
regnet_y_8gf regnet_y_16gf regnet_y_32gf regnet_y_128gf convnext_tiny convnext_small convnext_base convnext_large swin_t
swin_s swin_b swin_v2_t swin_v2_s swin_v2_b vit_b_16 vit_b_32 vit_l_16 vit_l_32 vit_h_14 maxvit_t""".split()
SEGMENTERS = "lraspp_mobilenet_v3_large fcn_resnet50 deeplabv3_resnet50 deeplabv3_mobilenet_v3_large".split()
BACKBONES = "ssdlite320_mobilenet_v3_large retinanet_resnet50_fpn".split()
SIZES = {"inception_v3": 299, "ssdlite320_mobilenet_v3_large": 320, "swin_v2_t": 256, "swin_v2_s": 256, "swin_v2_b": 256}
ATTENTION = ("swin", "vit", "maxvit")


class Outputs(torch.nn.Module):
    """A model whose outputs are a tuple of tensors, of a dict where it gives one."""

    def __init__(self, model, names=None):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, x):
        y = self.model(x)
        if isinstance(y, dict):
            y = tuple(y[n] for n in self.names or y)
        return y


def build(name):
    models = torchvision.models
    if name in ("googlenet", "inception_v3"):
        return getattr(models, name)(weights=None, aux_logits=name == "inception_v3", transform_input=False,
                                     init_weights=False)
    if name in SEGMENTERS:
        return Outputs(models.get_model(name, weights=None, weights_backbone=None), ["out"])
    if name in BACKBONES:
        return Outputs(models.get_model(name, weights=None, weights_backbone=None).backbone)
    return models.get_model(name, weights=None)


def write_pictures(folder, n, size):
    os.makedirs(folder, exist_ok=True)
    generator = torch.Generator().manual_seed(7)
    mean, std = torch.tensor(export.MEAN).view(3, 1, 1), torch.tensor(export.STD).view(3, 1, 1)
    for i, picture in enumerate(export.pictures(n, size, generator)):
        pixels = ((picture * std + mean) * 255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(os.path.join(folder, f"{i:03}.png"))


def write_config(folder, size, method):
    config = {"preprocess": {"color": "rgb", "resize": "shorter_side", "size": size, "crop": [size, size],
                             "interpolation": "bilinear", "scale": 1 / 255, "mean": export.MEAN, "std": export.STD},
              "calibration": {"images": "pictures", "method": method},
              "evaluation": {"images": "pictures", "labels": "evaluation.tsv"}}
    with open(os.path.join(folder, "model.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    with open(os.path.join(folder, "evaluation.tsv"), "w", encoding="utf-8") as file:
        file.writelines(f"{name}\t0\n" for name in sorted(os.listdir(os.path.join(folder, "pictures"))))


def dump(program, folder, out, n, *options):
    done = subprocess.run([program, folder, out, str(n), *options], capture_output=True, text=True, timeout=3600)
    if done.returncode:
        raise RuntimeError((done.stderr or f"exit {done.returncode}").strip().split("\n")[-1][:300])
    return done.stdout


def outputs(folder, i):
    found = []
    while os.path.exists(path := os.path.join(folder, f"{i}.out" + (f".{len(found)}" if found else ""))):
        found.append(numpy.fromfile(path, numpy.float32).astype(numpy.float64))
    return found


def difference(model, out, n, size):
    worst = 0.0
    for i in range(n):
        x = torch.from_numpy(numpy.fromfile(os.path.join(out, f"{i}.in"), numpy.float32)).view(1, 3, size, size)
        with torch.no_grad():
            want = model(x)
        want = [want] if torch.is_tensor(want) else list(want)
        found = outputs(out, i)
        assert len(found) == len(want), f"{len(want)} outputs, {len(found)} found"
        for a, b in zip(want, found):
            a = a.numpy().astype(numpy.float64).ravel()
            worst = max(worst, float(abs(a - b).max() / abs(a).max()))
    return worst


def sqnr(reference, quantized, n):
    signal = noise = 0.0
    for i in range(n):
        for a, b in zip(outputs(reference, i), outputs(quantized, i)):
            signal += float((a ** 2).sum())
            noise += float(((a - b) ** 2).sum())
    return 10 * numpy.log10(signal / noise) if noise else float("inf")


def int8(program, folder, reference, n):
    """SQNR against fp32's outputs, and the share of multiply-accumulates."""
    out = os.path.join(folder, "int8")
    share = float(dump(program, folder, out, n, "int8").split()[0])
    return sqnr(reference, out, n), share


def cover(name, opsets, n, program, folder):
    """A row: the differences by opset (or a text), SQNR, share, whether all is well."""
    size = SIZES.get(name, 224)
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(1)
    model = build(name)
    export.randomise(model, size, generator)
    os.makedirs(os.path.join(folder, "1"), exist_ok=True)
    write_pictures(os.path.join(folder, "pictures"), 8, size)
    write_config(folder, size, "mse")
    cells, well, reference = [], True, None
    path = os.path.join(folder, "1", "model.onnx")
    for opset in opsets:
        try:
            torch.onnx.export(model, torch.zeros(1, 3, size, size), path, opset_version=opset, input_names=["input"],
                              dynamic_axes={"input": {0: "batch"}})
        except Exception as error:  # an operator that PyTorch has no form for at this opset
            print(f"{name}, opset {opset}: {str(error)[:300]}", file=sys.stderr)
            cells.append("PyTorch cannot")
            continue
        out = os.path.join(folder, f"fp32-{opset}")
        try:
            dump(program, folder, out, n)
            worst = difference(model, out, n, size)
            cells.append(f"{worst:.0e}")
            well = well and worst <= 1e-3
            reference = out
        except (RuntimeError, AssertionError, subprocess.TimeoutExpired) as error:
            print(f"{name}, opset {opset}: {error}", file=sys.stderr)
            cells.append("fails")
            well = False
    if not reference:
        return cells + ["", ""], False
    try:
        db, share = int8(program, folder, reference, n)
        mark = ""
        if db < 15:
            write_config(folder, size, "adlq")
            db, share = int8(program, folder, reference, n)
            mark = " (adlq)"
        return cells + [f"{db:.1f}{mark}", f"{100 * share:.1f} %"], well and db >= 15
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        print(f"{name}, int8: {error}", file=sys.stderr)
        return cells + ["fails", ""], False


def main():
    parser = argparse.ArgumentParser(description="torchvision's networks through quantd")
    parser.add_argument("program")
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    parser.add_argument("--opsets", default="9,13,17")
    parser.add_argument("--pictures", type=int, default=2)
    parser.add_argument("--keep", help="folder in which the last model of each network stays")
    args = parser.parse_args()
    opsets = [int(o) for o in args.opsets.split(",")]
    failures = 0
    print("| network | " + " | ".join(f"opset {o}" for o in opsets) + " | int8 SQNR dB | MACs in int8 |")
    print("|" + " --- |" * (len(opsets) + 3), flush=True)
    for name in args.networks or CLASSIFIERS + SEGMENTERS + BACKBONES:
        with tempfile.TemporaryDirectory() as scratch:
            folder = os.path.join(args.keep or scratch, name)
            cells, well = cover(name, opsets, args.pictures, args.program, folder)
        print("| " + " | ".join([name] + cells) + " |", flush=True)
        failures += not well
    print(f"\n{failures} networks fail", file=sys.stderr)
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())

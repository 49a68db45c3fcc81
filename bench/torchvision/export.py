#!/usr/bin/python3
"""Exports torchvision's networks with seeded random weights as a quantd model repository.

Usage: bench/torchvision/export.py OUT [NETWORK...] [--opset N] [--size N] [--seed N] [--calibration DIR]
Needs Debian's python3-torchvision and python3-onnx; downloads nothing.

Speed does not depend on what the weights say, as long as the activations keep the range that trained ones have. Hence:
weights by He's rule, every bias non-zero and distinct (the exporter merges equal ones, and ONNX Runtime then leaves those
convolutions in float), batch normalisation with mildly random gammas and betas and with the statistics of noise pictures.
"""
import argparse
import json
import os

import torch
import torchvision

NETWORKS = ["resnet50", "resnet18", "mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0", "squeezenet1_1",
            "shufflenet_v2_x1_0", "densenet121", "googlenet", "vgg16"]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
NORMS = (torch.nn.BatchNorm2d,)
PRODUCTS = (torch.nn.Conv2d, torch.nn.Linear)


def build(name):
    if name == "googlenet":
        return torchvision.models.googlenet(weights=None, aux_logits=False, transform_input=False, init_weights=False)
    return getattr(torchvision.models, name)(weights=None)


def pictures(n, size, generator):
    """Noise of several scales, as a picture's spectrum falls off; contrast, brightness and colours vary as photos' do."""
    x = torch.zeros(n, 3, size, size)
    for step in (1, 4, 16, 56):
        noise = torch.rand(n, 3, max(size // step, 1), max(size // step, 1), generator=generator)
        mode = {"mode": "nearest"} if step == 16 else {"mode": "bilinear", "align_corners": False}
        x += step ** 0.5 * torch.nn.functional.interpolate(noise, size=(size, size), **mode)
    low, high = x.amin((1, 2, 3), True), x.amax((1, 2, 3), True)
    contrast = 0.3 + 0.7 * torch.rand(n, 3, 1, 1, generator=generator)
    x = (x - low) / (high - low) * contrast + (1 - contrast) * torch.rand(n, 3, 1, 1, generator=generator)
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def randomise(model, size, generator):
    for module in model.modules():
        if isinstance(module, PRODUCTS):
            fan_in = module.weight[0].numel()
            torch.nn.init.normal_(module.weight, 0, (2 / fan_in) ** 0.5)
            if module.bias is not None:
                torch.nn.init.normal_(module.bias, 0, 0.05)
        elif isinstance(module, NORMS):
            torch.nn.init.uniform_(module.weight, 0.7, 1.3)
            torch.nn.init.normal_(module.bias, 0, 0.2)
            module.momentum = None  # the plain mean over what it sees
    # Gates multiply: with He's weights a picture of more contrast than the statistics' would grow with every block.
    for module in model.modules():
        if isinstance(module, torchvision.ops.SqueezeExcitation):
            module.fc1.weight.data *= 0.25
            module.fc2.weight.data *= 0.25
    # Statistics as training would leave them, then off a little: a trained network's are never exactly a batch's.
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    with torch.no_grad():
        model(pictures(16, size, generator))
        for module in model.modules():
            if isinstance(module, NORMS):
                deviation = module.running_var.sqrt()
                module.running_mean += 0.1 * deviation * torch.randn(deviation.shape, generator=generator)
                module.running_var *= torch.empty(deviation.shape).uniform_(0.8, 1.25, generator=generator)
    model.eval()


def export(name, args):
    folder = os.path.join(args.out, name)
    os.makedirs(os.path.join(folder, "1"), exist_ok=True)
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    model = build(name)
    randomise(model, args.size, generator)
    with torch.no_grad():
        logits = model(pictures(4, args.size, generator))
    assert torch.isfinite(logits).all() and logits.abs().max() < 1e4, "the activations have left every sane range"
    torch.onnx.export(model, torch.zeros(1, 3, args.size, args.size), os.path.join(folder, "1", "model.onnx"),
                      opset_version=args.opset, input_names=["input"], output_names=["logits"],
                      dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}})
    config = {"preprocess": {"color": "rgb", "resize": "shorter_side", "size": args.size * 256 // 224,
                             "crop": [args.size, args.size], "interpolation": "bilinear", "scale": 1 / 255,
                             "mean": MEAN, "std": STD}}
    if args.calibration:
        config["calibration"] = {"images": os.path.relpath(args.calibration, folder)}
    with open(os.path.join(folder, "model.json"), "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2)
        file.write("\n")
    print(f"{name}: logits {logits.min():.2f} to {logits.max():.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description="torchvision's networks with random weights as a model repository")
    parser.add_argument("out")
    parser.add_argument("networks", nargs="*", default=[], metavar="NETWORK", help=", ".join(NETWORKS))
    parser.add_argument("--opset", type=int, default=13)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calibration", help="folder of photos to name in model.json (default: none, synthetic ones)")
    args = parser.parse_args()
    for name in args.networks or NETWORKS:
        export(name, args)


if __name__ == "__main__":
    main()

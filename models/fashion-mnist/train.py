#!/usr/bin/python3
"""Trains the bundled model and makes everything else in this folder but README.md.

Needs Debian's python3-torch, python3-pil, python3-onnx and dataset-fashion-mnist. Seed and number of threads are fixed
and only deterministic algorithms are used: the same machine gives the same weights. README.md says how long it takes.
"""
import argparse
import collections
import gzip
import io
import os
import shutil
import time

import numpy as np
import onnx
import torch
import torch.nn as nn
import torch.nn.functional as F
from PIL import Image

DATA = "/usr/share/datasets/fashion-mnist"
HERE = os.path.dirname(os.path.abspath(__file__))
LABELS = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
MEAN, STD = 0.2860, 0.3530
N_CALIBRATION, N_EVALUATION = 512, 1000
MODEL_JSON = f"""{{
  "preprocess": {{
    "color": "gray", "resize": "stretch", "size": [28, 28], "interpolation": "bilinear",
    "scale": {1 / 255}, "mean": [{MEAN}], "std": [{STD}]
  }},
  "labels": "labels.txt",
  "calibration": {{ "images": "calibration" }},
  "evaluation": {{ "images": "evaluation", "labels": "evaluation.tsv" }}
}}
"""


def read_idx(name):
    """A file of the MNIST format: a header of big-endian sizes, then bytes."""
    path = os.path.join(DATA, name + ".gz")
    if not os.path.exists(path):
        raise SystemExit(f"{path}: not found; install the Debian package dataset-fashion-mnist")
    with gzip.open(path, "rb") as f:
        raw = f.read()
    n_dims = raw[3]
    shape = [int.from_bytes(raw[4 + 4 * i:8 + 4 * i], "big") for i in range(n_dims)]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * n_dims).reshape(shape)


class Block(nn.Module):
    """Inverted residual: 1x1 expand, 3x3 depthwise, 1x1 project, and the input added where shapes allow."""

    def __init__(self, c_in, c_out, expand, stride, act):
        super().__init__()
        c = c_in * expand
        self.body = nn.Sequential(
            nn.Conv2d(c_in, c, 1, bias=False), nn.BatchNorm2d(c), act(),
            nn.Conv2d(c, c, 3, stride, 1, groups=c, bias=False), nn.BatchNorm2d(c), act(),
            nn.Conv2d(c, c_out, 1, bias=False), nn.BatchNorm2d(c_out))
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x):
        y = self.body(x)
        return x + y if self.residual else y


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 24, 3, 1, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU6(),
            nn.Conv2d(24, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6(),
            Block(32, 32, 3, 1, nn.ReLU6),
            Block(32, 32, 3, 1, nn.ReLU6),
            Block(32, 64, 3, 2, nn.Hardswish),
            Block(64, 64, 3, 1, nn.Hardswish),
            Block(64, 64, 3, 1, nn.Hardswish),
            nn.Conv2d(64, 160, 1, bias=False), nn.BatchNorm2d(160), nn.Hardswish(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(160, 10)

    def forward(self, x):
        return self.classifier(self.features(x))


class WithSoftmax(nn.Module):
    """What is served: probabilities. (The loss wants the logits.)"""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return F.softmax(self.net(x), 1)


def to_input(pictures):
    return ((torch.from_numpy(np.array(pictures)).float() / 255 - MEAN) / STD).unsqueeze(1)


def augment(x):
    """A random flip and a shift of up to two pixels for all, a random hole for half of the pictures."""
    n = x.shape[0]
    flip = torch.rand(n) < 0.5
    x = torch.where(flip[:, None, None, None], x.flip(3), x)
    padded = F.pad(x, (2, 2, 2, 2), value=-MEAN / STD)
    dy, dx = torch.randint(0, 5, (n,)), torch.randint(0, 5, (n,))
    rows = (dy[:, None] + torch.arange(28))[:, None, :, None].expand(n, 1, 28, 32)
    x = padded.gather(2, rows)
    columns = (dx[:, None] + torch.arange(28))[:, None, None, :].expand(n, 1, 28, 28)
    x = x.gather(3, columns)
    size, y0, x0 = torch.randint(4, 10, (n,)), torch.randint(0, 24, (n,)), torch.randint(0, 24, (n,))
    grid = torch.arange(28)
    hole = ((grid[None] >= y0[:, None]) & (grid[None] < (y0 + size)[:, None]))[:, :, None] & \
           ((grid[None] >= x0[:, None]) & (grid[None] < (x0 + size)[:, None]))[:, None, :]
    hole &= (torch.rand(n) < 0.5)[:, None, None]
    return x.masked_fill(hole[:, None], 0.0)


def accuracy(net, x, y):
    net.eval()
    with torch.no_grad():
        hits = sum((net(x[i:i + 1000]).argmax(1) == y[i:i + 1000]).sum().item() for i in range(0, len(x), 1000))
    return hits / len(x)


def train(net, x, y, epochs):
    """SGD with one learning-rate cycle; the net ends as the exponential moving average of its weights."""
    batch = 128
    steps = epochs * (len(x) // batch)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=3e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.25, total_steps=steps, pct_start=0.2)
    average = {k: v.clone() for k, v in net.state_dict().items()}
    step, started = 0, time.time()
    for epoch in range(epochs):
        net.train()
        order = torch.randperm(len(x))
        for i in range(0, len(x) - batch + 1, batch):
            pick = order[i:i + batch]
            loss = F.cross_entropy(net(augment(x[pick])), y[pick], label_smoothing=0.05)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
            decay = min(0.998, step / (step + 10))
            for k, v in net.state_dict().items():
                if v.dtype.is_floating_point:
                    average[k].mul_(decay).add_(v, alpha=1 - decay)
                else:
                    average[k].copy_(v)
        print(f"epoch {epoch + 1}/{epochs} loss {loss.item():.3f} {time.time() - started:.0f} s", flush=True)
    net.load_state_dict(average)
    print(f"training took {time.time() - started:.0f} s")


def jpeg(picture):
    out = io.BytesIO()
    Image.fromarray(picture, "L").save(out, "JPEG", quality=95)
    return out.getvalue()


def write_set(folder, pictures, labels, n):
    """n pictures, balanced over the classes, evenly spread; returns [(name, class, index)] in a fixed order."""
    path = os.path.join(HERE, folder)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    chosen, want = [], [n // 10 + (1 if c < n % 10 else 0) for c in range(10)]
    for c in range(10):
        indices = np.flatnonzero(labels == c)
        spread = np.linspace(0, len(indices) - 1, want[c]).round().astype(int)
        chosen += [(f"{LABELS[c].lower().replace('/', '-').replace(' ', '-')}_{i:05d}.jpg", c, i) for i in indices[spread]]
    for name, _, i in chosen:
        with open(os.path.join(path, name), "wb") as f:
            f.write(jpeg(pictures[i]))
    return chosen


def write_pictures(pictures, labels, test_pictures, test_labels):
    """Both image sets and the texts; returns the evaluation set as [(name, class, index in the test part)]."""
    write_set("calibration", pictures, labels, N_CALIBRATION)
    chosen = write_set("evaluation", test_pictures, test_labels, N_EVALUATION)
    with open(os.path.join(HERE, "evaluation.tsv"), "w") as f:
        f.writelines(f"{name}\t{c}\n" for name, c, _ in chosen)
    with open(os.path.join(HERE, "labels.txt"), "w") as f:
        f.writelines(label + "\n" for label in LABELS)
    with open(os.path.join(HERE, "model.json"), "w") as f:
        f.write(MODEL_JSON)
    return chosen


def export(net):
    """Batch normalisation stays a node of its own, as in most files that people bring."""
    path = os.path.join(HERE, "1", "model.onnx")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    torch.onnx.export(WithSoftmax(net).eval(), torch.zeros(1, 1, 28, 28), path, opset_version=14,
                      input_names=["image"], output_names=["probability"],
                      training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False,
                      dynamic_axes={"image": {0: "batch"}, "probability": {0: "batch"}})
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    operators = collections.Counter(node.op_type for node in model.graph.node)
    print(f"model.onnx: {os.path.getsize(path)} bytes;", ", ".join(f"{k} {n}" for k, n in operators.most_common()))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=16)
    epochs = parser.parse_args().epochs
    torch.manual_seed(1)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(2)
    pictures, labels = read_idx("train-images-idx3-ubyte"), read_idx("train-labels-idx1-ubyte")
    test_pictures, test_labels = read_idx("t10k-images-idx3-ubyte"), read_idx("t10k-labels-idx1-ubyte")
    x, y = to_input(pictures), torch.from_numpy(np.array(labels)).long()
    x_test, y_test = to_input(test_pictures), torch.from_numpy(np.array(test_labels)).long()

    chosen = write_pictures(pictures, labels, test_pictures, test_labels)
    net = Net()
    print(f"{sum(p.numel() for p in net.parameters())} parameters")
    train(net, x, y, epochs)
    print(f"top-1 on the 10,000 test pictures: {100 * accuracy(net, x_test, y_test):.2f} %")
    decoded = np.stack([np.array(Image.open(os.path.join(HERE, "evaluation", name))) for name, _, _ in chosen])
    y_chosen = torch.tensor([c for _, c, _ in chosen])
    print(f"top-1 on the 1000 evaluation JPEGs: {100 * accuracy(net, to_input(decoded), y_chosen):.2f} %")

    export(net)


if __name__ == "__main__":
    main()

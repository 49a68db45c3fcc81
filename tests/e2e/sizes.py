"""A network whose picture's size is open, with two outputs: sizes.py make FOLDER [OUTPUT...] | sizes.py test URL. TAP.

The map is computed here once more, in plain Python."""

import json
import os
import random
import struct
import sys
import threading

from onnx_bytes import field, node

CHANNELS = 4
random.seed(3)
WEIGHTS = [random.uniform(-0.8, 0.8) for _ in range(CHANNELS * 9)]


def tensor(name, dims, data):
    return field(5, b"".join(field(1, d) for d in dims) + field(2, 1) + field(8, name)
                 + field(9, struct.pack("<%df" % len(data), *data)))


def open_value(name, dims):
    """A number is a fixed dimension, a text an open one."""
    shape = b"".join(field(1, field(2 if isinstance(d, str) else 1, d)) for d in dims)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, shape)))


def make(folder, *outputs):
    graph = tensor("w", [CHANNELS, 1, 3, 3], WEIGHTS)
    graph += node("Conv", ["image", "w"], "conv", pads=[1, 1, 1, 1], strides=[2, 2]) + node("Relu", ["conv"], "map")
    graph += node("GlobalAveragePool", ["map"], "mean") + node("Flatten", ["mean"], "y")
    graph += field(2, "open") + field(11, open_value("image", ["n", 1, "height", "width"]))
    shapes = {"y": ["n", CHANNELS], "map": ["n", CHANNELS, "h2", "w2"]}
    for name in outputs or shapes:
        graph += field(12, open_value(name, shapes[name]))
    os.makedirs(folder + "/1")
    with open(folder + "/1/model.onnx", "wb") as file:
        file.write(field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 14)))


def reference(pixels, h, w):
    out = []
    for c in range(CHANNELS):
        for y in range(0, h, 2):
            for x in range(0, w, 2):
                total = 0
                for ky in range(3):
                    for kx in range(3):
                        iy, ix = y + ky - 1, x + kx - 1
                        if 0 <= iy < h and 0 <= ix < w:
                            total += pixels[iy * w + ix] / 255 * WEIGHTS[c * 9 + ky * 3 + kx]
                out.append(max(total, 0))
    return out


def test(url):
    from tap import Tap
    from v2_client import Client, floats

    client = Client(url)
    tap = Tap()
    check = tap.check

    def close(got, wanted):
        scale = max(wanted)
        return len(got) == len(wanted) and max(abs(a - b) for a, b in zip(got, wanted)) < 0.02 * scale

    status, answer = client.get("/v2/models/open")
    check("metadata: open dimensions are -1", answer["inputs"][0]["shape"] == [-1, 1, -1, -1], answer)
    check("  two outputs, of which the map's size is open", [(o["name"], o["shape"]) for o in answer["outputs"]] ==
          [("y", [-1, CHANNELS]), ("map", [-1, CHANNELS, -1, -1])], answer)
    for h, w in ((28, 28), (40, 36), (2, 2), (31, 65), (40, 36)):
        pixels = [bytes(random.randrange(256) for _ in range(h * w)) for _ in range(3)]
        status, answer, out = client.infer("open", [("image", "UINT8", [3, 1, h, w], b"".join(pixels))])
        wanted = [reference(p, h, w) for p in pixels]
        area = len(wanted[0]) // CHANNELS
        check("%d x %d: the map" % (h, w), status == 200 and close(floats(out["map"]), sum(wanted, [])), answer)
        check("  its shape", answer["outputs"][1]["shape"] == [3, CHANNELS, (h + 1) // 2, (w + 1) // 2], answer)
        means = [sum(m[c * area:(c + 1) * area]) / area for m in wanted for c in range(CHANNELS)]
        check("  and the other output", close(floats(out["y"]), means), (floats(out["y"]), means))
    many = [Client(url) for _ in range(4)]
    pixels = [bytes(random.randrange(256) for _ in range(24 * 24)) for _ in range(16)]
    wanted = sum((reference(p, 24, 24) for p in pixels), [])
    good = []

    def ask(client):
        for _ in range(20):
            status, _, out = client.infer("open", [("image", "UINT8", [16, 1, 24, 24], b"".join(pixels))])
            good.append(status == 200 and close(floats(out["map"]), wanted))

    threads = [threading.Thread(target=ask, args=(c,)) for c in many]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check("requests that runners share", len(good) == 80 and all(good), good.count(False))
    for h, w in ((16384, 16384), (8000, 8000)):
        status, _, body = client.ask("POST", "/infer?size=%dx%d" % (h, w), open(sys.argv[3], "rb").read(),
                                     {"Content-Type": "image/jpeg"})
        check("%d x %d: too large" % (h, w), status == 413, body)
    status, answer, out = client.infer("open", [("image", "UINT8", [1, 1, 28, 28], bytes(784))], [{"name": "map"}])
    check("one output of two", list(out) == ["map"] and len(out["map"]) == CHANNELS * 14 * 14, answer)
    picture = open(sys.argv[3], "rb").read()
    for size, wanted in (("?size=56x44", 200), ("?size=56", 400), ("?size=0x5", 400), ("?size=99999x1", 400)):
        status, _, body = client.ask("POST", "/infer" + size, picture, {"Content-Type": "image/jpeg"})
        check("/infer%s: %d" % (size, wanted), status == wanted, body)
    tap.done()


if sys.argv[1] == "make":
    make(*sys.argv[2:])
else:
    test(sys.argv[2])

"""tiny_onnx.py FILE [SEED]: a network of 28x28 gray pictures with an activation of every form that integers have.

Conv + SiLU, Conv + LeakyRelu, Conv + HardSwish, depthwise Conv + Relu with a residual, two MaxPools' Concat, mean, Gemm.
"""
import random
import struct
import sys

from onnx_bytes import field, node, value


def tensor(name, dims, scale):
    count = 1
    for d in dims:
        count *= d
    data = struct.pack(f"<{count}f", *(random.uniform(-scale, scale) for _ in range(count)))
    return field(5, b"".join(field(1, d) for d in dims) + field(2, 1) + field(8, name) + field(9, data))


def main(path, seed=1):
    random.seed(int(seed))
    graph = b""
    for name, dims, scale in (("w1", [8, 1, 3, 3], 0.8), ("w2", [8, 8, 3, 3], 0.3), ("w3", [8, 8, 1, 1], 0.6),
                              ("w4", [8, 1, 3, 3], 0.6), ("b", [8], 0.5), ("w5", [10, 16], 0.9), ("b5", [10], 0.5)):
        graph += tensor(name, dims, scale)
    graph += node("Conv", ["image", "w1", "b"], "c1", pads=[1, 1, 1, 1], strides=[2, 2])
    graph += node("Sigmoid", ["c1"], "gate") + node("Mul", ["c1", "gate"], "silu")
    graph += node("Conv", ["silu", "w2", "b"], "c2", pads=[1, 1, 1, 1])
    graph += node("LeakyRelu", ["c2"], "leaky", alpha=0.1)
    graph += node("Conv", ["leaky", "w3", "b"], "c3") + node("HardSwish", ["c3"], "hard")
    graph += node("Conv", ["hard", "w4", "b"], "c4", pads=[1, 1, 1, 1], group=8)
    graph += node("Add", ["c4", "hard"], "sum") + node("Relu", ["sum"], "relu")
    graph += node("MaxPool", ["relu"], "m1", kernel_shape=[2, 2], strides=[2, 2])
    graph += node("MaxPool", ["hard"], "m2", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 0])
    graph += node("Concat", ["m1", "m2"], "both", axis=1) + node("GlobalAveragePool", ["both"], "mean")
    graph += node("Flatten", ["mean"], "flat") + node("Gemm", ["flat", "w5", "b5"], "y", transB=1)
    graph += field(2, "tiny") + field(11, value("image", [1, 1, 28, 28])) + field(12, value("y", [1, 10]))
    with open(path, "wb") as file:
        file.write(field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 14)))


main(*sys.argv[1:])

"""quantized_onnx.py FOLDER: one quantized network of 28x28 gray pictures in two spellings, FOLDER/qdq/ and FOLDER/qlinear/,
and as one that takes bytes: FOLDER/bytes (no preprocess stated), FOLDER/stated (the same, stated).

Conv + Relu, MaxPool on bytes, Conv, Add, GlobalAveragePool, Flatten, Gemm; int8 weights by channel, int32 biases, uint8
activations. QDQ has floats between pairs; QLinear has ONNX's and ONNX Runtime's operators on bytes. Both say the same.
"""
import os
import random
import struct
import sys

from onnx_bytes import field, node, value

DTYPES = {"f": 1, "B": 2, "b": 3, "i": 6}
JSON = '{"preprocess":{"color":"gray","resize":"stretch","size":[28,28],"scale":0.00392156862745098,"mean":[0.286],"std":[0.353]}}'


def tensor(name, dims, kind, values):
    data = struct.pack(f"<{len(values)}{kind}", *values)
    return field(5, b"".join(field(1, d) for d in dims) + field(2, DTYPES[kind]) + field(8, name) + field(9, data))


class Graph:
    def __init__(self, qlinear, takes_bytes):
        self.qlinear, self.takes_bytes, self.nodes, self.tensors, self.n_reals = qlinear, takes_bytes, b"", b"", 0
        random.seed(7)

    def add(self, op, inputs, output, domain="", **attributes):
        self.nodes += node(op, inputs, output, domain, **attributes)

    def levels(self, name, scale, zero):
        self.tensors += tensor(f"{name}.s", [], "f", [scale]) + tensor(f"{name}.z", [], "B", [zero])

    def layer(self, name, dims, x_scale):
        """Weights, their scales by output channel, and the bias."""
        n, k = dims[0], 1
        for d in dims[1:]:
            k *= d
        scales = [random.uniform(0.004, 0.012) for _ in range(n)]
        self.tensors += tensor(f"{name}.w", dims, "b", [random.randint(-127, 127) for _ in range(n * k)])
        self.tensors += tensor(f"{name}.ws", [n], "f", scales) + tensor(f"{name}.wz", [n], "b", [0] * n)
        self.tensors += tensor(f"{name}.b", [n], "i", [random.randint(-3000, 3000) for _ in range(n)])
        self.tensors += tensor(f"{name}.bs", [n], "f", [x_scale * struct.unpack("f", struct.pack("f", s))[0] for s in scales])

    def real(self, name, levels):
        """A DequantizeLinear for each reader, as ONNX Runtime's own tools write them."""
        self.n_reals += 1
        self.add("DequantizeLinear", [name, f"{levels}.s", f"{levels}.z"], f"{name}.real{self.n_reals}")
        return f"{name}.real{self.n_reals}"

    def weights(self, name):
        self.add("DequantizeLinear", [f"{name}.w", f"{name}.ws", f"{name}.wz"], f"{name}.wr", axis=0)
        self.add("DequantizeLinear", [f"{name}.b", f"{name}.bs"], f"{name}.br", axis=0)
        return [f"{name}.wr", f"{name}.br"]

    def quantize(self, real, name):
        self.add("QuantizeLinear", [real, f"{name}.s", f"{name}.z"], name)

    def conv(self, x, name, **attributes):
        if self.qlinear:
            self.add("QLinearConv", [x, f"{x}.s", f"{x}.z", f"{name}.w", f"{name}.ws", f"{name}.wz", f"{name}.s",
                                     f"{name}.z", f"{name}.b"], name, **attributes)
            return
        self.add("Conv", [self.real(x, x)] + self.weights(name), f"{name}.f", **attributes)
        self.quantize(f"{name}.f", name)

    def pool(self, x, levels, name):
        if self.qlinear:
            self.add("MaxPool", [x], name, kernel_shape=[2, 2], strides=[2, 2])
            return
        self.add("MaxPool", [self.real(x, levels)], f"{name}.f", kernel_shape=[2, 2], strides=[2, 2])
        self.add("QuantizeLinear", [f"{name}.f", f"{levels}.s", f"{levels}.z"], name)

    def rest(self):
        if self.qlinear:
            ms = "com.microsoft"
            self.add("QLinearAdd", ["c2", "c2.s", "c2.z", "p1", "p1.s", "p1.z", "sum.s", "sum.z"], "sum", ms)
            self.add("QLinearGlobalAveragePool", ["sum", "sum.s", "sum.z", "mean.s", "mean.z"], "mean", ms)
            self.add("Flatten", ["mean"], "flat")
            self.add("QGemm", ["flat", "mean.s", "mean.z", "g.w", "g.ws", "g.wz", "g.b"], "y", ms, transB=1)
            return
        self.add("Add", [self.real("c2", "c2"), self.real("p1", "p1")], "sum.f")
        self.quantize("sum.f", "sum")
        self.add("GlobalAveragePool", [self.real("sum", "sum")], "mean.f")
        self.quantize("mean.f", "mean")
        self.add("Flatten", [self.real("mean", "mean")], "flat.f")
        self.add("QuantizeLinear", ["flat.f", "mean.s", "mean.z"], "flat")
        self.add("Gemm", [self.real("flat", "mean")] + self.weights("g"), "y", transB=1)

    def bytes(self):
        for name, scale, zero in (("x", 0.013, 62), ("c1", 0.02, 0), ("p1", 0.02, 0), ("c2", 0.04, 131), ("sum", 0.045, 120),
                                  ("mean", 0.03, 110)):
            self.levels(name, scale, zero)
        self.layer("c1", [8, 1, 3, 3], 0.013)
        self.layer("c2", [8, 8, 3, 3], 0.02)
        self.layer("g", [10, 8], 0.03)
        if not self.takes_bytes:
            self.quantize("image", "x")
        self.conv("x", "c1", pads=[1, 1, 1, 1], strides=[2, 2])
        self.pool("c1", "c1", "p1")
        self.conv("p1", "c2", pads=[1, 1, 1, 1])
        self.rest()
        graph = self.nodes + field(2, "quantized") + self.tensors
        image = value("x", [1, 1, 28, 28], 2) if self.takes_bytes else value("image", [1, 1, 28, 28])
        graph += field(11, image) + field(12, value("y", [1, 10]))
        return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13)) + field(
            8, field(1, "com.microsoft") + field(2, 1))


BARE = '{"preprocess":{"color":"gray","resize":"stretch","size":[28,28],"scale":1,"mean":[0],"std":[1]}}'
for spelling, text in (("qdq", JSON), ("qlinear", JSON), ("bytes", "{}"), ("stated", BARE)):
    os.makedirs(f"{sys.argv[1]}/{spelling}/1")
    with open(f"{sys.argv[1]}/{spelling}/1/model.onnx", "wb") as file:
        file.write(Graph(spelling == "qlinear", spelling in ("bytes", "stated")).bytes())
    with open(f"{sys.argv[1]}/{spelling}/model.json", "w") as file:
        file.write(text)

#!/usr/bin/python3
"""Makes the malformed models of this folder: NAME.onnx, and NAME.expect with a status and a part of the error's text."""
import os

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = os.path.dirname(os.path.abspath(__file__))
IMAGE = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
OUT = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
W = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")


def model(nodes, initializers=(), inputs=(IMAGE,), outputs=(OUT,), opset=13):
    graph = helper.make_graph(nodes, "g", list(inputs), list(outputs), list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def write(name, made, status, text):
    with open(os.path.join(HERE, name + ".onnx"), "wb") as f:
        f.write(made if isinstance(made, bytes) else made.SerializeToString())
    with open(os.path.join(HERE, name + ".expect"), "w") as f:
        f.write(f"{status}\t{text}\n")


conv = helper.make_node("Conv", ["x", "w"], ["y"], name="conv1")
good = model([conv], [W])
raw = good.SerializeToString()

write("empty", b"", "invalid", "it has no graph")
write("truncated", raw[:len(raw) // 2], "invalid", "not an ONNX file")
write("noise", bytes((i * 73 + 41) % 251 for i in range(2000)), "invalid", "not an ONNX file")
write("text", b"this is not a model at all\n", "invalid", "not an ONNX file")
write("cycle", model([helper.make_node("Add", ["x", "b"], ["a"], name="first"),
                      helper.make_node("Relu", ["a"], ["b"], name="second"),
                      helper.make_node("Relu", ["b"], ["y"], name="third")]), "invalid", "cycle")
write("missing_input", model([helper.make_node("Add", ["x", "nothing"], ["y"], name="add")]), "invalid",
      "reads 'nothing', which nothing makes")
write("made_twice", model([helper.make_node("Relu", ["x"], ["y"], name="a"),
                           helper.make_node("Sigmoid", ["x"], ["y"], name="b")]), "invalid", "made twice")
write("unsupported", model([helper.make_node("Det", ["x"], ["e"], name="e1"),
                            helper.make_node("STFT", ["e", "e"], ["y"], name="e2")]),
      "unsupported", "Det (node 'e1'), STFT (node 'e2')")
write("pads", model([helper.make_node("Conv", ["x", "w"], ["y"], name="conv1", pads=[1, 1, 1])], [W]), "invalid",
      "node 'conv1' (Conv): pads: expected two values per axis, found 3")
write("attribute_kind", model([helper.make_node("Conv", ["x", "w"], ["y"], name="conv1", group="two")], [W]), "invalid",
      "group: expected an int, found a string")
write("channels", model([conv], [numpy_helper.from_array(np.ones((4, 5, 3, 3), np.float32), "w")]), "invalid",
      "do not fit an input")
write("overflow", model([helper.make_node("Expand", ["x", "s"], ["y"], name="expand")],
                        [numpy_helper.from_array(np.array([1, 3, 8, 8, 2 ** 40], np.int64)[[0, 1, 4, 3]], "s")]),
      "invalid", "expand")
write("overflow_shape", model([helper.make_node("ConstantOfShape", ["s"], ["c"], name="fill"),
                               helper.make_node("Relu", ["x"], ["y"])],
                              [numpy_helper.from_array(np.array([70000, 70000], np.int64), "s")]), "too_large", "fill")
write("reshape", model([helper.make_node("Reshape", ["x", "s"], ["y"], name="reshape")],
                       [numpy_helper.from_array(np.array([5, 7], np.int64), "s")]), "invalid", "does not hold the elements")
short = helper.make_tensor("w", TensorProto.FLOAT, [4, 3, 3, 3], np.ones(108, np.float32).tobytes(), raw=True)
short.raw_data = short.raw_data[:100]
write("short_data", model([conv], [short]), "invalid", "initializer 'w': expected 108 elements for its shape, found 25")
negative = helper.make_tensor("w", TensorProto.FLOAT, [4], np.ones(4, np.float32).tobytes(), raw=True)
negative.dims[0] = -4
write("negative_dim", model([conv], [negative]), "too_large", "initializer 'w'")
outside = helper.make_tensor("w", TensorProto.FLOAT, [4, 3, 3, 3], bytes(432), raw=True)
outside.ClearField("raw_data")
outside.data_location = TensorProto.EXTERNAL
entry = outside.external_data.add()
entry.key, entry.value = "location", "../../etc/passwd"
write("external_outside", model([conv], [outside]), "invalid", "expected a path inside the model's folder")
write("batch", model([conv], [W], [helper.make_tensor_value_info("x", TensorProto.FLOAT, [8, 3, 8, 8])]), "unsupported",
      "the batch dimension is fixed to 8")
write("opset", model([conv], [W], opset=3), "unsupported", "opset: expected 7 to 22, found 3")
write("two_inputs", model([helper.make_node("Add", ["x", "z"], ["y"])],
                          inputs=[IMAGE, helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 3, 8, 8])]),
      "unsupported", "expected one input, found 2")
body = helper.make_graph([helper.make_node("Relu", ["x"], ["r"])], "b", [], [OUT])
write("subgraph", model([helper.make_node("If", ["x"], ["y"], then_branch=body, else_branch=body)]), "unsupported",
      "a subgraph")
write("domain", model([helper.make_node("Magic", ["x"], ["y"], name="m", domain="com.example")]), "unsupported",
      "com.example.Magic (node 'm')")
write("window", model([conv], [numpy_helper.from_array(np.ones((4, 3, 30, 30), np.float32), "w")]), "invalid",
      "a window of 30 does not fit into 8")


def constant(name, values, dtype=np.int64):
    return numpy_helper.from_array(np.array(values, dtype), name)


def one(name, op, initializers, status, text, inputs=("x",), opset=13, **attributes):
    """A node behind the picture, with constants as its further inputs."""
    node = helper.make_node(op, list(inputs) + [i.name for i in initializers], ["y"], name="it", **attributes)
    write(name, model([node], initializers, opset=opset), status, text)


one("wrong_type", "Add", [constant("z", np.ones((1, 3, 8, 8)))], "invalid", "node 'it' (Add)")
write("integer_weights", model([conv], [constant("w", np.ones((4, 3, 3, 3)))]), "unsupported", "expected float, found int64")
write("initializer_twice", model([conv], [W, W]), "invalid", "'w'")
short_file = helper.make_tensor("w", TensorProto.FLOAT, [4, 3, 3, 3], bytes(432), raw=True)
short_file.ClearField("raw_data")
short_file.data_location = TensorProto.EXTERNAL
for key, value in (("location", "short.bin"), ("offset", "8"), ("length", "432")):
    entry = short_file.external_data.add()
    entry.key, entry.value = key, value
with open(os.path.join(HERE, "short.bin"), "wb") as f:
    f.write(bytes(100))
write("external_short", model([conv], [short_file]), "invalid", "expected 432 bytes at offset 8, the file has 100")
write("absurd_size", model([conv], [W], [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 2 ** 31 - 1, 2 ** 31 - 1])]),
      "too_large", "elements")
write("negative_input", model([conv], [W], [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, -7, 8])]), "invalid",
      "dimension 2: expected 1 or more, found -7")
one("resize_scale", "Resize", [constant("r", [], np.float32), constant("s", [1, 1, 1e30, 1e30], np.float32)], "invalid", "scales")
one("resize_nan", "Resize", [constant("r", [], np.float32), constant("s", [1, 1, np.nan, 1], np.float32)], "invalid", "scales")
one("resize_zero", "Resize", [constant("r", [], np.float32), constant("s", [1, 1, 0, 1], np.float32)], "invalid", "scales")
one("tile", "Tile", [constant("r", [1, 2 ** 40, 1, 1])], "invalid", "repeats")
one("tile_many", "Tile", [constant("r", [2 ** 20, 2 ** 20, 1, 1])], "too_large", "elements")
one("gather", "Gather", [constant("i", [3])], "invalid", "indices: expected -3..2, found 3", axis=1)
one("gather_axis", "Gather", [constant("i", [0])], "invalid", "axis: expected -4..3, found 9", axis=9)
one("top_k", "TopK", [constant("k", [9])], "invalid", "k: expected 0..8, found 9")
one("one_hot", "OneHot", [constant("d", [-5]), constant("v", [0, 1])], "too_large", "negative")
one("split", "Split", [constant("s", [4, -1])], "invalid", "split", axis=1)
one("slice_step", "Slice", [constant("b", [0]), constant("e", [4]), constant("a", [2]), constant("t", [0])], "invalid", "steps")
one("pad_reflect", "Pad", [constant("p", [0, 0, 9, 0, 0, 0, 0, 0])], "invalid", "pads", mode="reflect")
one("transpose", "Transpose", [], "invalid", "perm", perm=[0, 1, 1, 2])
one("reduce_axis", "ReduceMax", [], "invalid", "ax", axes=[7])
one("einsum", "Einsum", [], "invalid", "equation", equation="abc->ab(c")
one("conv_transpose", "ConvTranspose", [constant("w", np.ones((5, 4, 3, 3)), np.float32)], "invalid", "node 'it' (ConvTranspose)")
one("depth_to_space", "DepthToSpace", [], "invalid", "blocksize", blocksize=0)
one("scale_of_zero", "QuantizeLinear", [constant("s", 0, np.float32), constant("z", 0, np.uint8)], "invalid", "scale")
one("nms", "NonMaxSuppression", [constant("b", np.ones((1, 4, 3)), np.float32)], "invalid", "boxes")
EMPTY = constant("e", np.ones((1, 3, 0, 8)), np.float32)


def folded(name, op, initializers, status, text, opset=13, **attributes):
    """A node of constants alone, which loading runs."""
    node = helper.make_node(op, [i.name for i in initializers], ["r"], name="it", **attributes)
    write(name, model([node, helper.make_node("Relu", ["x"], ["y"])], initializers, opset=opset), status, text)


folded("gather_of_nothing", "GatherElements", [EMPTY, constant("i", np.zeros((1, 3, 4, 8)))], "invalid", "into an empty dimension",
       axis=2)
folded("scatter_into_nothing", "ScatterND", [EMPTY, constant("i", [[0, 0, 0, 0]]), constant("u", [1], np.float32)], "invalid",
       "into an empty dimension")
folded("scatter_outside", "ScatterND", [constant("d", np.ones((2, 3)), np.float32), constant("i", [[1, 3]]),
                                        constant("u", [1], np.float32)], "invalid", "indices: expected -3..2, found 3")
folded("pad_of_nothing", "Pad", [EMPTY, constant("p", [0, 0, 1, 0, 0, 0, 0, 0])], "invalid", "pads: 1 and 0 do not fit", mode="edge")
folded("window_of_all", "MaxPool", [constant("d", np.ones((1, 1, 2, 2)), np.float32)], "too_large", "taps",
       kernel_shape=[45761, 62571], pads=[30000, 40000, 30000, 40000])
folded("einsum_steps", "Einsum", [constant(n, np.ones(100), np.float32) for n in "abcdefgh"], "too_large", "products",
       equation="a,b,c,d,e,f,g,h->")
write("range", model([helper.make_node("Range", ["a", "b", "c"], ["r"], name="it"), helper.make_node("Relu", ["x"], ["y"])],
                     [constant("a", 0), constant("b", 10), constant("c", 0)]), "invalid", "delta")
# A hundred thousand messages, one inside the other.
nested = b""
for _ in range(20000):
    size, length = len(nested), b""
    while True:
        length += bytes([size & 127 | (128 if size > 127 else 0)])
        size >>= 7
        if not size:
            break
    nested = b"\x0a" + length + nested
write("nested", b"\x3a" + b"\xff\xff\xff\x7f" + nested, "invalid", "not an ONNX file")

"""rename_node.py IN.onnx OUT.onnx OLD NEW: replaces a name of as many bytes wherever it stands; NEW is cut or padded to fit."""
import sys

data = open(sys.argv[1], "rb").read()
old, new = sys.argv[3].encode(), sys.argv[4].encode()
assert old in data and len(new) <= len(old), (old, len(new))
open(sys.argv[2], "wb").write(data.replace(old, new + b"_" * (len(old) - len(new))))

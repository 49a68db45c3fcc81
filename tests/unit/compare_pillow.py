"""Asks Pillow for what preprocess_dump wrote and prints TAP: compare_pillow.py DUMP IMAGES [ZOO]"""
import os, subprocess, sys, tempfile

import numpy as np
from PIL import Image, ImageOps

DUMP, IMAGES = sys.argv[1:3]
ZOO = sys.argv[3] if len(sys.argv) > 3 else None
RGB, BGR, GRAY = range(3)
SHORTER, STRETCH, LETTERBOX = range(3)
FILTERS = [Image.BILINEAR, Image.BICUBIC, Image.NEAREST]
n_tests = n_failed = 0


def load(path, color):
    """Upright, 8 bits. Pillow clips 16-bit grey when it converts; quantd keeps the high byte, as for 16-bit RGB."""
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode in ("I", "I;16"):
        image = Image.fromarray((np.asarray(image, dtype=np.int64) >> 8).astype(np.uint8))
    return image.convert("L" if color == GRAY else "RGB")


def start(length, size, top_left):
    """Where torchvision's center_crop starts; negative where it pads."""
    if top_left:
        return 0
    return -((size - length) // 2) if length < size else int(round((length - size) / 2.0))


def expected(path, color, mode, size, crop, interpolation, pad, top_left):
    image = load(path, color)
    w, h = image.size
    if mode == STRETCH:
        h2, w2 = size
    elif mode == LETTERBOX:
        r = min(size[0] / h, size[1] / w)
        h2, w2 = max(1, int(h * r)), max(1, int(w * r))
    else:
        long = int(size[0] * max(h, w) / min(h, w))
        h2, w2 = (size[0], long) if h <= w else (long, size[0])
    pixels = np.asarray(image.resize((w2, h2), FILTERS[interpolation])).reshape(h2, w2, -1)
    y, x = start(h2, crop[0], top_left), start(w2, crop[1], top_left)
    if mode == LETTERBOX:
        y = start(h2, size[0], top_left) + start(size[0], crop[0], top_left)
        x = start(w2, size[1], top_left) + start(size[1], crop[1], top_left)
    out = np.full((crop[0], crop[1], pixels.shape[2]), pad, np.uint8)
    y0, x0, y1, x1 = max(y, 0), max(x, 0), min(y + crop[0], h2), min(x + crop[1], w2)
    out[y0 - y:y1 - y, x0 - x:x1 - x] = pixels[y0:y1, x0:x1]
    return out[:, :, ::-1] if color == BGR else out


def report(name, differences):
    global n_tests, n_failed
    n_tests += 1
    all_differences = np.concatenate(differences)
    worst, same = int(all_differences.max()), float((all_differences == 0).mean())
    n_failed += worst > 1
    print("%s %d - %s: largest difference %d, %.4f %% of %d bytes identical" % (
        "not ok" if worst > 1 else "ok", n_tests, name, worst, 100 * same, all_differences.size), flush=True)


def difference(a, b):
    assert a.shape == b.shape, (a.shape, b.shape)
    return np.abs(a.astype(np.int16) - b.astype(np.int16)).ravel()


def dump(arguments, paths):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        subprocess.run([DUMP, out] + [str(a) for a in arguments] + paths, check=True)
        with open(out, "rb") as file:
            return file.read()


def compare_decoded(name, paths, color):
    n_channels, at, differences = 1 if color == GRAY else 3, 0, []
    data = dump(["decode", n_channels], paths)
    for path in paths:
        w, h = np.frombuffer(data, np.int32, 2, at)
        ours = np.frombuffer(data, np.uint8, w * h * n_channels, at + 8)
        at += 8 + w * h * n_channels
        theirs = np.asarray(load(path, color))
        assert theirs.shape[:2] == (h, w), path
        differences.append(difference(ours, theirs.ravel()))
    report(name, differences)


def compare(name, paths, color=RGB, mode=SHORTER, size=(256, 256), crop=(224, 224), interpolation=0, pad=114,
            top_left=0):
    arguments = [color, mode, *size, *crop, interpolation, pad, top_left, 0]
    data = np.frombuffer(dump(arguments, paths), np.uint8).reshape(len(paths), -1)
    report(name, [difference(ours, expected(path, color, mode, size, crop, interpolation, pad, top_left).ravel())
                  for ours, path in zip(data, paths)])


def compare_modes(name, paths):
    compare(name + ", shorter side 256, crop 224", paths)
    compare(name + ", the same, bgr", paths, color=BGR)
    compare(name + ", the same, gray", paths, color=GRAY)
    compare(name + ", the same, bicubic", paths, interpolation=1)
    compare(name + ", the same, nearest", paths, interpolation=2)
    compare(name + ", the same, top left", paths, top_left=1)
    compare(name + ", shorter side 600, crop 301 x 223", paths, size=(600, 600), crop=(301, 223), interpolation=1)
    compare(name + ", shorter side 100, crop 224 (padded)", paths, size=(100, 100))
    compare(name + ", stretch 192 x 320", paths, mode=STRETCH, size=(192, 320), crop=(192, 320))
    compare(name + ", stretch 32, bicubic", paths, mode=STRETCH, size=(32, 32), crop=(32, 32), interpolation=1)
    compare(name + ", letterbox 416, top left", paths, mode=LETTERBOX, size=(416, 416), crop=(416, 416), top_left=1)
    compare(name + ", letterbox 320 x 256, center", paths, mode=LETTERBOX, size=(320, 256), crop=(320, 256))
    compare(name + ", letterbox 320 x 256, crop 224", paths, mode=LETTERBOX, size=(320, 256))


def some(folder, n):
    names = sorted(f for f in os.listdir(folder) if f.lower().endswith((".jpg", ".jpeg", ".png")))
    return [os.path.join(folder, f) for f in names[::max(1, len(names) // n)][:n]]


bundled = some(IMAGES, 1000)
bundled = [p for p in bundled if not os.path.basename(p).startswith("refused_")]
compare_decoded("bundled pictures, decoded to RGB", bundled, RGB)
compare_decoded("bundled pictures, decoded to grey", [p for p in bundled if "alpha" not in p], GRAY)
compare_modes("bundled pictures", bundled)
if ZOO:
    photos = [p for folder in ("imagenet-calibration", "coco") for p in some(os.path.join(ZOO, "images", folder),
                                                                             24 if folder[0] == "i" else 6)]
    compare_decoded("%d photos, decoded to RGB" % len(photos), photos, RGB)
    compare_decoded("%d photos, decoded to grey" % len(photos), photos, GRAY)
    compare_modes("%d photos" % len(photos), photos)
else:
    n_tests += 1
    print("ok %d # SKIP the zoo's photos: no folder ../shared/zoo beside the source" % n_tests)
print("1..%d" % n_tests)
sys.exit(0)

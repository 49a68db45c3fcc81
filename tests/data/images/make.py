#!/usr/bin/python3
"""Makes the pictures of this folder and the corpus of the image fuzzer, with Debian's python3-pil and python3-numpy.

Run it in this folder: ./make.py. The same versions of Pillow and zlib give the same bytes.
Names that begin with refused_ are whole pictures that quantd refuses.
"""
import io, os, struct, zlib

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 51, 37
HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS = os.path.join(HERE, "..", "..", "fuzz", "corpus", "image")


def scene():
    """Gradients, a disc, stripes and a little noise: edges for the resize, colours for the channel order."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    pixels = np.stack([x * 255 // WIDTH, y * 255 // HEIGHT, (x + y) * 3 % 256], 2).astype(np.int32)
    pixels[(x - 17) ** 2 + (y - 13) ** 2 < 80] = (230, 40, 20)
    pixels[(x > 33) & (x % 4 < 2)] //= 3
    pixels += np.random.RandomState(1).randint(-9, 10, pixels.shape)
    return np.clip(pixels, 0, 255).astype(np.uint8)


PIXELS = scene()
RGB = Image.fromarray(PIXELS)
GREY = RGB.convert("L")


def exif(orientation, order="<", size=None):
    """A TIFF block with one entry; size overrides what it claims to hold."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(order + "IHHHIHHI", 8, 1 if size is None else size, 0x0112, 3, 1, orientation, 0, 0)


def jpeg(image, **options):
    out = io.BytesIO()
    image.save(out, "JPEG", **{"quality": 90, **options})
    return out.getvalue()


def png_chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(header, rows, before=b""):
    """A PNG by hand, for what Pillow does not write: 16-bit RGB and Adam7."""
    return (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + before + png_chunk(b"IDAT", zlib.compress(rows, 9)) +
            png_chunk(b"IEND", b""))


def rows_of(pixels):
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def interlaced():
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = b"".join(rows_of(PIXELS[y::dy, x::dx]) for y, x, dy, dx in passes)
    return png(struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 1), rows)


def pillow_png(image, **options):
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True, **options)
    return out.getvalue()


def pictures():
    palette = RGB.quantize(200)
    alpha = Image.fromarray((np.mgrid[0:HEIGHT, 0:WIDTH][1] * 5 % 256).astype(np.uint8))
    wide = PIXELS.astype(np.uint16) * 257 // 2 + 77
    files = {
        "rgb_444.jpg": jpeg(RGB, subsampling=0), "rgb_422.jpg": jpeg(RGB, subsampling=1),
        "rgb_420.jpg": jpeg(RGB, subsampling=2), "rgb_progressive.jpg": jpeg(RGB, progressive=True),
        "rgb_optimized.jpg": jpeg(RGB, optimize=True),
        "grey.jpg": jpeg(GREY), "refused_cmyk.jpg": jpeg(RGB.convert("CMYK")),
        "rgb.png": pillow_png(RGB), "grey.png": pillow_png(GREY), "grey_1.png": pillow_png(RGB.convert("1")),
        "rgba_alpha.png": pillow_png(Image.merge("RGBA", (*RGB.split(), alpha))),
        "grey_alpha.png": pillow_png(Image.merge("LA", (GREY, alpha))),
        "palette.png": pillow_png(palette), "palette_4.png": pillow_png(RGB.quantize(13)),
        "palette_alpha.png": pillow_png(palette, transparency=bytes(range(200))),
        "rgb_transparent_alpha.png": pillow_png(RGB, transparency=(255, 0, 0)),
        "grey_16.png": pillow_png(Image.fromarray(wide[:, :, 0].astype(np.int32), "I")),
        "rgb_16.png": png(struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0), rows_of(wide.astype(">u2"))),
        "rgb_interlaced.png": interlaced(),
        "one_pixel.png": pillow_png(RGB.crop((20, 13, 21, 14))), "strip.png": pillow_png(RGB.crop((0, 9, 51, 10))),
        "orientation_6.png": png(struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0), rows_of(PIXELS),
                                 png_chunk(b"eXIf", exif(6, ">"))),
    }
    for i in range(1, 9):
        files["orientation_%d.jpg" % i] = jpeg(RGB, exif=b"Exif\0\0" + exif(i, "<" if i % 2 else ">"))
    return files


def broken(files):
    """Small files that each go down another path of a decoder. Their content is fixed: nothing here is random."""
    jpg, progressive, image = files["rgb_420.jpg"], files["rgb_progressive.jpg"], files["rgb.png"]
    header = b"\x89PNG\r\n\x1a\n"
    out = {"empty": b"", "html": b"<!DOCTYPE html><p>", "json": b'{"a": 1}', "gif": b"GIF89a\1\0\1\0\0\0\0;",
           "only_jpeg_magic": b"\xff\xd8\xff", "only_png_magic": header,
           "png_bomb_header": header + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 50000, 50000, 8, 2, 0, 0, 0)),
           "png_zero_width": header + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 5, 8, 2, 0, 0, 0)),
           "png_text_bomb": image[:33] + png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(300000), 9)) + image[33:],
           "png_orientation": files["orientation_6.png"], "png_palette": files["palette_alpha.png"],
           "png_interlaced": files["rgb_interlaced.png"], "png_16": files["rgb_16.png"],
           "jpeg_cmyk": files["refused_cmyk.jpg"], "jpeg_grey": files["grey.jpg"], "jpeg": jpg,
           "jpeg_progressive": progressive}
    for name, tiff in {"lying_entries": exif(6, size=0xffff), "far_directory": b"II*\0\xff\xff\xff\xff",
                       "directory_at_end": b"MM\0*\0\0\0\x09\0", "short": b"II", "orientation_0": exif(0),
                       "orientation_9": exif(9)}.items():
        out["jpeg_exif_" + name] = jpeg(RGB, exif=b"Exif\0\0" + tiff)
    for name, data in (("jpeg", jpg), ("progressive", progressive), ("png", image)):
        for part in (3, 5, 7, 9):
            out["%s_cut_%d" % (name, part)] = data[:len(data) * part // 10]
        for i in range(6):
            at = len(data) * (2 * i + 1) // 12
            out["%s_flip_%d" % (name, i)] = data[:at] + bytes([data[at] ^ 1 << i]) + data[at + 1:]
    return out


def write(folder, files):
    os.makedirs(folder, exist_ok=True)
    for name, data in files.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(data)


if __name__ == "__main__":
    files = pictures()
    write(HERE, files)
    write(CORPUS, broken(files))

#include <string.h>
#include <turbojpeg.h>

#include "image/decoders.h"

static bool matches(const uint8_t *bytes, size_t size)
{
    return size >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff;
}

static enum qd_status broken(tjhandle jpeg, struct qd_error *err)
{
    return qd_error_set(err, QD_INVALID, "%.160s", tjGetErrorStr2(jpeg));
}

static enum qd_status read_pixels(tjhandle jpeg, const uint8_t *bytes, size_t size, int n_channels,
                                  const struct qd_image_limits *limits, struct qd_image *image, struct qd_error *err)
{
    /* A warning means lost or made-up pixels (a truncated file), so it is an error; a bomb of scans is cut at 500. */
    const int flags = TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS;
    int width, height, subsampling, color_space;
    enum qd_status status;

    if (tjDecompressHeader3(jpeg, bytes, (unsigned long)size, &width, &height, &subsampling, &color_space) < 0)
        return broken(jpeg, err);
    if (color_space == TJCS_CMYK || color_space == TJCS_YCCK)
        return qd_error_set(err, QD_UNSUPPORTED, "expected grey or RGB, found CMYK: convert the picture to RGB");
    /* Colour to grey goes through RGB, as Pillow does: JPEG's own Y differs in the last bit. */
    status = qd_image_alloc(width, height, n_channels == 1 && color_space == TJCS_GRAY ? 1 : 3, limits, image, err);
    if (status != QD_OK)
        return status;
    if (tjDecompress2(jpeg, bytes, (unsigned long)size, image->pixels, width, 0, height,
                      image->n_channels == 3 ? TJPF_RGB : TJPF_GRAY, flags) < 0)
        return broken(jpeg, err);
    if (n_channels == 1 && image->n_channels == 3)
        qd_image_to_grey(image);
    return qd_image_orient(image, qd_exif_orientation(bytes, size), err);
}

static enum qd_status decode(const uint8_t *bytes, size_t size, int n_channels, const struct qd_image_limits *limits,
                             struct qd_image *ret, struct qd_error *err)
{
    tjhandle jpeg = tjInitDecompress();
    struct qd_image image = {0};
    enum qd_status status;

    if (!jpeg)
        return qd_error_set(err, QD_NO_MEMORY, "no memory to decode");
    status = read_pixels(jpeg, bytes, size, n_channels, limits, &image, err);
    tjDestroy(jpeg);
    if (status != QD_OK) {
        qd_image_done(&image);
        return status;
    }
    *ret = image;
    return QD_OK;
}

const struct qd_decoder qd_decoder_jpeg = {"JPEG", matches, decode};

#include <string.h>

#include "image/internal.h"

/* A TIFF block, read in its own byte order; what lies outside reads as 0. */
struct tiff {
    const uint8_t *bytes;
    size_t size;
    bool big_endian;
};

static uint32_t read_number(const struct tiff *tiff, size_t offset, size_t n_bytes)
{
    uint32_t number = 0;

    if (offset > tiff->size || n_bytes > tiff->size - offset)
        return 0;
    for (size_t i = 0; i < n_bytes; i++)
        number = number << 8 | tiff->bytes[offset + (tiff->big_endian ? i : n_bytes - 1 - i)];
    return number;
}

/* EXIF 2.3, 4.6.4 (A): tag 0x0112 of the 0th directory, one SHORT; some writers use a LONG. */
int qd_exif_orientation(const uint8_t *bytes, size_t size)
{
    struct tiff tiff = {.bytes = bytes, .size = size};
    uint32_t directory, n_entries;

    if (size < 8 || (memcmp(bytes, "II", 2) && memcmp(bytes, "MM", 2)))
        return 1;
    tiff.big_endian = bytes[0] == 'M';
    if (read_number(&tiff, 2, 2) != 42)
        return 1;
    directory = read_number(&tiff, 4, 4);
    n_entries = read_number(&tiff, directory, 2);
    for (uint32_t i = 0; i < n_entries; i++) {
        size_t entry = (size_t)directory + 2 + (size_t)i * 12;
        uint32_t type, orientation;

        if (entry > size || size - entry < 12)
            return 1;
        if (read_number(&tiff, entry, 2) != 0x0112)
            continue;
        type = read_number(&tiff, entry + 2, 2);
        orientation = type == 3 ? read_number(&tiff, entry + 8, 2) : type == 4 ? read_number(&tiff, entry + 8, 4) : 1;
        return orientation >= 1 && orientation <= 8 ? (int)orientation : 1;
    }
    return 1;
}

/* How the upright picture reads the stored one. */
static const struct {
    bool transpose; /* rows become columns */
    bool from_right, from_bottom;
} orientations[9] = {
    [2] = {.from_right = true},
    [3] = {.from_right = true, .from_bottom = true},
    [4] = {.from_bottom = true},
    [5] = {.transpose = true},
    [6] = {.transpose = true, .from_bottom = true},
    [7] = {.transpose = true, .from_right = true, .from_bottom = true},
    [8] = {.transpose = true, .from_right = true},
};

enum qd_status qd_image_orient(struct qd_image *image, int orientation, struct qd_error *err)
{
    bool transpose = orientations[orientation].transpose;
    ptrdiff_t n_channels = image->n_channels;
    ptrdiff_t row_size = (ptrdiff_t)image->width * n_channels;
    ptrdiff_t x_step = n_channels, y_step = row_size;
    const uint8_t *start = image->pixels;
    struct qd_image upright;
    uint8_t *out;
    enum qd_status status;

    if (orientation == 1)
        return QD_OK;
    status = qd_image_alloc(transpose ? image->height : image->width, transpose ? image->width : image->height,
                            image->n_channels, &upright, err);
    if (status != QD_OK)
        return status;

    if (orientations[orientation].from_right) {
        start += row_size - n_channels;
        x_step = -x_step;
    }
    if (orientations[orientation].from_bottom) {
        start += (image->height - 1) * row_size;
        y_step = -y_step;
    }
    if (transpose) {
        ptrdiff_t step = x_step;

        x_step = y_step;
        y_step = step;
    }
    out = upright.pixels;
    for (int y = 0; y < upright.height; y++)
        for (int x = 0; x < upright.width; x++) {
            const uint8_t *in = start + y * y_step + x * x_step;

            for (int c = 0; c < n_channels; c++)
                *out++ = in[c];
        }
    qd_image_done(image);
    *image = upright;
    return QD_OK;
}

#include "image/image.h"

#include <assert.h>
#include <limits.h>

#include "image/internal.h"
#include "util/mem.h"

static const struct qd_decoder *const qd_decoders[] = {
    &qd_decoder_jpeg,
    &qd_decoder_png,
};

void qd_image_done(struct qd_image *image)
{
    qd_free(image->pixels);
    *image = (struct qd_image){0};
}

enum qd_status qd_image_check_size(int64_t width, int64_t height, const struct qd_image_limits *limits,
                                   struct qd_error *err)
{
    if (width < 1 || height < 1)
        return qd_error_set(err, QD_INVALID, "expected at least 1 x 1 pixel, found %lld x %lld", (long long)width,
                            (long long)height);
    /* Sides are int everywhere, and three channels of a row must be countable in one too. */
    if (width > INT_MAX / 4 || height > INT_MAX / 4 || width > limits->max_pixels / height)
        return qd_error_set(err, QD_TOO_LARGE, "expected at most %lld pixels, found %lld x %lld",
                            (long long)limits->max_pixels, (long long)width, (long long)height);
    return QD_OK;
}

enum qd_status qd_image_alloc(int width, int height, int n_channels, struct qd_image *ret, struct qd_error *err)
{
    void *pixels = NULL;
    enum qd_status status;

    status = qd_alloc_for(&pixels, (size_t)height, (size_t)width * (size_t)n_channels, "a picture's pixels", err);
    if (status != QD_OK)
        return status;
    *ret = (struct qd_image){.pixels = pixels, .width = width, .height = height, .n_channels = n_channels};
    return QD_OK;
}

/* Grey to RGB, or RGB to grey with Pillow's arithmetic (ITU-R 601-2 luma, 16 bits after the point, rounded). */
static enum qd_status convert_channels(struct qd_image *image, int n_channels, struct qd_error *err)
{
    size_t n_pixels = (size_t)image->width * (size_t)image->height;
    struct qd_image converted;
    const uint8_t *in;
    uint8_t *out;
    enum qd_status status;

    if (image->n_channels == n_channels)
        return QD_OK;
    status = qd_image_alloc(image->width, image->height, n_channels, &converted, err);
    if (status != QD_OK)
        return status;

    in = image->pixels;
    out = converted.pixels;
    if (n_channels == 3)
        for (size_t i = 0; i < n_pixels; i++)
            out[3 * i] = out[3 * i + 1] = out[3 * i + 2] = in[i];
    else
        for (size_t i = 0; i < n_pixels; i++)
            out[i] = (uint8_t)((in[3 * i] * 19595u + in[3 * i + 1] * 38470u + in[3 * i + 2] * 7471u + 0x8000u) >> 16);
    qd_image_done(image);
    *image = converted;
    return QD_OK;
}

static enum qd_status unknown_format(const uint8_t *bytes, size_t size, struct qd_error *err)
{
    char looks[QD_LOOKS_TEXT_SIZE];
    enum qd_status status = size ? QD_UNSUPPORTED : QD_INVALID;

    return qd_error_set(err, status, "expected a JPEG or PNG picture, found %s", qd_looks_like(bytes, size, looks));
}

struct qd_image_part qd_image_whole(int width, int height, int orientation, int eighths)
{
    int w = (int)(((int64_t)width * eighths + 7) / 8), h = (int)(((int64_t)height * eighths + 7) / 8);

    return (struct qd_image_part){width, height, orientation, eighths, {0, 0, w, h}};
}

enum qd_status qd_image_decode_part(const void *bytes, size_t size, int n_channels,
                                    const struct qd_image_limits *limits, const struct qd_part_chooser *chooser,
                                    struct qd_image *ret, struct qd_image_part *ret_part, struct qd_error *err)
{
    const struct qd_decoder *decoder = NULL;
    struct qd_image image = {0};
    struct qd_image_part part;
    enum qd_status status;

    assert(n_channels == 1 || n_channels == 3);
    for (size_t i = 0; i < QD_ARRAY_SIZE(qd_decoders) && !decoder; i++)
        if (qd_decoders[i]->sniff(bytes, size))
            decoder = qd_decoders[i];
    if (!decoder)
        return unknown_format(bytes, size, err);

    status = decoder->decode(bytes, size, limits, chooser, &image, &part, err);
    if (status != QD_OK)
        return qd_error_context(err, status, "%s picture", decoder->name);
    status = convert_channels(&image, n_channels, err);
    if (status == QD_OK)
        status = qd_image_orient(&image, part.orientation, err);
    if (status != QD_OK) {
        qd_image_done(&image);
        return status;
    }
    *ret = image;
    *ret_part = part;
    return QD_OK;
}

enum qd_status qd_image_decode(const void *bytes, size_t size, int n_channels, const struct qd_image_limits *limits,
                               struct qd_image *ret, struct qd_error *err)
{
    struct qd_image_part part;

    return qd_image_decode_part(bytes, size, n_channels, limits, NULL, ret, &part, err);
}

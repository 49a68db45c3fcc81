#include <string.h>

#include "image/decoders.h"
#include "util/mem.h"

static const struct qd_decoder *const qd_decoders[] = {&qd_decoder_jpeg, &qd_decoder_png};

/* What bytes that no decoder knows look like, for a text that helps. */
static const struct {
    const char *name;
    size_t at;
    const char *magic;
} others[] = {
    {"a GIF", 0, "GIF8"},           {"a WebP image", 8, "WEBP"}, {"a BMP", 0, "BM"},
    {"a TIFF", 0, "II*"},           {"a TIFF", 0, "MM\0*"},      {"a HEIC or AVIF image", 4, "ftyp"},
    {"a PDF", 0, "%PDF"},           {"a web page", 0, "<!"},     {"a web page", 0, "<html"},
    {"JSON", 0, "{"},               {"JSON", 0, "["},            {"gzip data", 0, "\x1f\x8b"},
    {"a ZIP archive", 0, "PK\x03"}, {"an SVG or XML", 0, "<"},
};

static const char *looks_like(const uint8_t *bytes, size_t size)
{
    if (!size)
        return "nothing (0 bytes)";
    for (size_t i = 0; i < QD_ARRAY_SIZE(others); i++) {
        size_t length = strlen(others[i].magic) ? strlen(others[i].magic) : 1;

        if (size >= others[i].at + length && memcmp(bytes + others[i].at, others[i].magic, length) == 0)
            return others[i].name;
    }
    return "other bytes";
}

enum qd_status qd_image_decode(const void *bytes, size_t size, int n_channels, const struct qd_image_limits *limits,
                               struct qd_image *ret, struct qd_error *err)
{
    for (size_t i = 0; i < QD_ARRAY_SIZE(qd_decoders); i++) {
        enum qd_status status;

        if (!qd_decoders[i]->matches(bytes, size))
            continue;
        status = qd_decoders[i]->decode(bytes, size, n_channels, limits, ret, err);
        return status == QD_OK ? QD_OK : qd_error_context(err, status, "%s", qd_decoders[i]->name);
    }
    return qd_error_set(err, QD_UNSUPPORTED, "expected a JPEG or PNG image, found %s", looks_like(bytes, size));
}

void qd_image_done(struct qd_image *image)
{
    qd_free(image->pixels);
    memset(image, 0, sizeof(*image));
}

enum qd_status qd_image_alloc(int64_t width, int64_t height, int n_channels, const struct qd_image_limits *limits,
                              struct qd_image *ret, struct qd_error *err)
{
    uint8_t *pixels = NULL;
    enum qd_status status;

    if (width < 1 || height < 1 || width > 1000000 || height > 1000000)
        return qd_error_set(err, QD_INVALID, "expected a size of 1 to 1000000 on each side, found %lld x %lld",
                            (long long)width, (long long)height);
    if (width * height > limits->max_pixels)
        return qd_error_set(err, QD_TOO_LARGE, "expected at most %lld pixels, found %lld x %lld",
                            (long long)limits->max_pixels, (long long)width, (long long)height);
    status = qd_alloc_for((void **)&pixels, (size_t)(width * height), (size_t)n_channels, "pixels", err);
    if (status != QD_OK)
        return status;
    ret->pixels = pixels;
    ret->width = (int)width;
    ret->height = (int)height;
    ret->n_channels = n_channels;
    return QD_OK;
}

void qd_image_to_grey(struct qd_image *image)
{
    size_t n = (size_t)image->width * (size_t)image->height;

    for (size_t i = 0; i < n; i++) {
        const uint8_t *p = image->pixels + 3 * i;

        image->pixels[i] = (uint8_t)((p[0] * 19595u + p[1] * 38470u + p[2] * 7471u + 0x8000u) >> 16);
    }
    image->n_channels = 1;
}

enum qd_status qd_image_orient(struct qd_image *image, int orientation, struct qd_error *err)
{
    /* 5 to 8 swap the axes; the source pixel of (x, y) is found from the flips. */
    bool swap = orientation >= 5, flip_x, flip_y;
    struct qd_image_limits none = {INT64_MAX};
    struct qd_image turned = {0};
    enum qd_status status;
    int n = image->n_channels;

    if (orientation <= 1 || orientation > 8)
        return QD_OK;
    flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    status = qd_image_alloc(swap ? image->height : image->width, swap ? image->width : image->height, n, &none, &turned,
                            err);
    if (status != QD_OK)
        return status;
    for (int y = 0; y < turned.height; y++) {
        for (int x = 0; x < turned.width; x++) {
            int from_x = swap ? y : x, from_y = swap ? x : y;

            from_x = flip_x ? image->width - 1 - from_x : from_x;
            from_y = flip_y ? image->height - 1 - from_y : from_y;
            memcpy(turned.pixels + ((size_t)y * (size_t)turned.width + (size_t)x) * (size_t)n,
                   image->pixels + ((size_t)from_y * (size_t)image->width + (size_t)from_x) * (size_t)n, (size_t)n);
        }
    }
    qd_image_done(image);
    *image = turned;
    return QD_OK;
}

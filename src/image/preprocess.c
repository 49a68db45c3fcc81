#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "image/image.h"
#include "util/mem.h"

/* The longest side that a resized picture may have: beyond, a float (Pillow's boxes) does not count pixels exactly. */
#define MAX_RESIZED_SIDE (1 << 24)

/* One axis of the plan: the resized picture, and where on it the network's window starts (negative: padding). */
struct placed {
    int resized;
    int start;
    int size; /* of the window */
};

int qd_preprocess_channels(const struct qd_preprocess *preprocess)
{
    return preprocess->color == QD_GRAY ? 1 : 3;
}

size_t qd_preprocess_bytes(const struct qd_preprocess *preprocess)
{
    return (size_t)preprocess->crop_h * (size_t)preprocess->crop_w * (size_t)qd_preprocess_channels(preprocess);
}

/* Where a window of size starts on a side of length, as torchvision's center_crop: it rounds halves to even. */
static int crop_start(enum qd_anchor anchor, int length, int size)
{
    if (anchor == QD_TOP_LEFT)
        return 0;
    if (length < size)
        return -((size - length) / 2);
    return (int)nearbyint((length - size) / 2.0);
}

/* As torchvision's Resize: the longer side is rounded down, and never below the shorter. */
static double longer_side(int size, int longer, int shorter)
{
    return floor((double)((int64_t)size * longer) / shorter);
}

/* The resized picture's sides, in double because a strip of 1 x 1,000,000 pixels asks for more than an int holds. */
static void resized_sides(const struct qd_preprocess *preprocess, int height, int width, double *ret_h, double *ret_w)
{
    double ratio;

    switch (preprocess->resize) {
    case QD_STRETCH:
        *ret_h = preprocess->size_h;
        *ret_w = preprocess->size_w;
        break;
    case QD_LETTERBOX:
        /* YOLOX's preproc: one ratio, both sides rounded down. */
        ratio = fmin((double)preprocess->size_h / height, (double)preprocess->size_w / width);
        *ret_h = fmax(1.0, floor(height * ratio));
        *ret_w = fmax(1.0, floor(width * ratio));
        break;
    case QD_SHORTER_SIDE:
        *ret_h = height <= width ? preprocess->size_h : longer_side(preprocess->size_h, height, width);
        *ret_w = width <= height ? preprocess->size_h : longer_side(preprocess->size_h, width, height);
        break;
    }
}

/* A letterbox puts the resized side on a canvas of its own, the crop is cut out of that. */
static struct placed place(const struct qd_preprocess *preprocess, int resized, int canvas, int crop)
{
    struct placed placed = {.resized = resized, .size = crop};

    if (preprocess->resize == QD_LETTERBOX)
        placed.start = crop_start(preprocess->anchor, canvas, crop) + crop_start(preprocess->anchor, resized, canvas);
    else
        placed.start = crop_start(preprocess->anchor, resized, crop);
    return placed;
}

/* The part of the window that the picture covers, on the resized picture. */
static void covered(const struct placed *placed, int *ret_start, int *ret_n)
{
    int start = placed->start < 0 ? 0 : placed->start;
    int end = placed->start + placed->size;

    if (end > placed->resized)
        end = placed->resized;
    *ret_start = start;
    *ret_n = end - start;
}

static void copy_row(const uint8_t *in, uint8_t *out, int n_pixels, enum qd_color color)
{
    if (color != QD_BGR) {
        memcpy(out, in, (size_t)n_pixels * (color == QD_GRAY ? 1 : 3));
        return;
    }
    for (int x = 0; x < n_pixels; x++) {
        out[3 * x] = in[3 * x + 2];
        out[3 * x + 1] = in[3 * x + 1];
        out[3 * x + 2] = in[3 * x];
    }
}

static enum qd_status resize_into(const struct qd_preprocess *preprocess, const struct qd_image *image,
                                  const struct placed *down, const struct placed *across, uint8_t *out,
                                  struct qd_error *err)
{
    struct qd_resize resize = {
        .width = across->resized, .height = down->resized, .interpolation = preprocess->interpolation};
    size_t n_channels = (size_t)qd_preprocess_channels(preprocess);
    struct qd_image window;
    size_t left, top;
    enum qd_status status;

    covered(across, &resize.crop_x, &resize.crop_w);
    covered(down, &resize.crop_y, &resize.crop_h);
    if (resize.crop_w < across->size || resize.crop_h < down->size)
        memset(out, preprocess->pad_value, qd_preprocess_bytes(preprocess));
    if (resize.crop_w < 1 || resize.crop_h < 1)
        return QD_OK; /* a crop in the middle of a letterbox's border */
    status = qd_image_resize(image, &resize, &window, err);
    if (status != QD_OK)
        return status;

    left = (size_t)(resize.crop_x - across->start);
    top = (size_t)(resize.crop_y - down->start);
    for (int y = 0; y < window.height; y++)
        copy_row(window.pixels + (size_t)y * (size_t)window.width * n_channels,
                 out + ((top + (size_t)y) * (size_t)across->size + left) * n_channels, window.width, preprocess->color);
    qd_image_done(&window);
    return QD_OK;
}

enum qd_status qd_preprocess_run(const struct qd_preprocess *preprocess, const void *bytes, size_t size,
                                 const struct qd_image_limits *limits, uint8_t *out, struct qd_error *err)
{
    struct qd_image image;
    struct placed down, across;
    double resized_h = 0, resized_w = 0;
    enum qd_status status;

    assert(preprocess->size_h >= 1 && preprocess->size_h <= MAX_RESIZED_SIDE);
    assert(preprocess->size_w >= 1 && preprocess->size_w <= MAX_RESIZED_SIDE);
    assert(preprocess->crop_h >= 1 && preprocess->crop_w >= 1);
    status = qd_image_decode(bytes, size, qd_preprocess_channels(preprocess), limits, &image, err);
    if (status != QD_OK)
        return status;

    resized_sides(preprocess, image.height, image.width, &resized_h, &resized_w);
    if (resized_h > MAX_RESIZED_SIDE || resized_w > MAX_RESIZED_SIDE) {
        status =
            qd_error_set(err, QD_TOO_LARGE,
                         "a picture of %d x %d, resized to a shorter side of %d, has a side of %.0f pixels: "
                         "expected at most %d",
                         image.width, image.height, preprocess->size_h, fmax(resized_h, resized_w), MAX_RESIZED_SIDE);
    } else {
        down = place(preprocess, (int)resized_h, preprocess->size_h, preprocess->crop_h);
        across = place(preprocess, (int)resized_w, preprocess->size_w, preprocess->crop_w);
        status = resize_into(preprocess, &image, &down, &across, out, err);
    }
    qd_image_done(&image);
    return status;
}

static void hash_int(struct qd_hasher *hasher, const char *name, int value)
{
    char line[64];
    int size = snprintf(line, sizeof(line), "%s %d\n", name, value);

    qd_hasher_add(hasher, line, (size_t)size);
}

/* By its bits: printing would depend on the locale. */
static void hash_float(struct qd_hasher *hasher, const char *name, float value)
{
    char line[64];
    uint32_t bits;
    int size;

    value += 0.0f; /* -0 is 0 */
    memcpy(&bits, &value, sizeof(bits));
    size = snprintf(line, sizeof(line), "%s %08x\n", name, (unsigned)bits);
    qd_hasher_add(hasher, line, (size_t)size);
}

void qd_preprocess_hash(const struct qd_preprocess *preprocess, struct qd_hasher *hasher)
{
    hash_int(hasher, "color", (int)preprocess->color);
    hash_int(hasher, "resize", (int)preprocess->resize);
    hash_int(hasher, "size_h", preprocess->size_h);
    hash_int(hasher, "size_w", preprocess->size_w);
    hash_int(hasher, "crop_h", preprocess->crop_h);
    hash_int(hasher, "crop_w", preprocess->crop_w);
    hash_int(hasher, "interpolation", (int)preprocess->interpolation);
    hash_float(hasher, "scale", preprocess->scale);
    for (int c = 0; c < 3; c++) {
        hash_float(hasher, "mean", preprocess->mean[c]);
        hash_float(hasher, "std", preprocess->std[c]);
    }
    hash_int(hasher, "pad_value", preprocess->pad_value);
    hash_int(hasher, "anchor", (int)preprocess->anchor);
}

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "image/internal.h"
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

static void swap_red_and_blue(uint8_t *row, int n_pixels)
{
    for (int x = 0; x < n_pixels; x++) {
        uint8_t red = row[3 * x];

        row[3 * x] = row[3 * x + 2];
        row[3 * x + 2] = red;
    }
}

/* What becomes of a picture of some size. */
struct geometry {
    double resized_h, resized_w;
    bool is_too_large; /* the resized picture: nothing below is valid then */
    struct placed down, across;
    struct qd_resize resize;    /* a window without pixels: the crop lies in the middle of a letterbox's border */
    struct qd_resize_from from; /* the whole picture at the size to which it is decoded */
};

static bool is_transposed(const struct qd_image_part *part)
{
    return part->orientation >= 5;
}

/* Where the upright picture's left and top are the right or bottom of the stored one, by EXIF's orientation. */
static const bool left_is_an_end[] = {[2] = true, [3] = true, [6] = true, [7] = true, [8] = false};
static const bool top_is_an_end[] = {[3] = true, [4] = true, [7] = true, [8] = true};

static struct qd_resize_from from_of(const struct qd_image_part *part, int height, int width)
{
    struct qd_resize_from from = {.height = height * part->eighths / 8.0, .width = width * part->eighths / 8.0};

    if (left_is_an_end[part->orientation])
        from.left = ceil(from.width) - from.width;
    if (top_is_an_end[part->orientation])
        from.top = ceil(from.height) - from.height;
    if (part->orientation == 1) { /* a turned picture is turned as a whole */
        from.x = part->window.x;
        from.y = part->window.y;
    }
    return from;
}

static void plan_geometry(const struct qd_preprocess *preprocess, const struct qd_image_part *part,
                          struct geometry *ret)
{
    int height = is_transposed(part) ? part->width : part->height;
    int width = is_transposed(part) ? part->height : part->width;

    *ret = (struct geometry){.resize.interpolation = preprocess->interpolation};
    resized_sides(preprocess, height, width, &ret->resized_h, &ret->resized_w);
    ret->is_too_large = ret->resized_h > MAX_RESIZED_SIDE || ret->resized_w > MAX_RESIZED_SIDE;
    if (ret->is_too_large)
        return;
    ret->down = place(preprocess, (int)ret->resized_h, preprocess->size_h, preprocess->crop_h);
    ret->across = place(preprocess, (int)ret->resized_w, preprocess->size_w, preprocess->crop_w);
    ret->resize.height = ret->down.resized;
    ret->resize.width = ret->across.resized;
    covered(&ret->across, &ret->resize.crop_x, &ret->resize.crop_w);
    covered(&ret->down, &ret->resize.crop_y, &ret->resize.crop_h);
    ret->from = from_of(part, height, width);
}

static bool has_pixels(const struct qd_resize *resize)
{
    return resize->crop_w >= 1 && resize->crop_h >= 1;
}

/*
 * The decoder asks. libjpeg-turbo decodes to any number of eighths, but has vector code for halves alone: 7, 6 and 5
 * eighths take longer than the whole (docs/serving.md).
 */
static void choose_part(const void *context, struct qd_image_part *part)
{
    const struct qd_preprocess *preprocess = context;
    struct geometry g;

    plan_geometry(preprocess, part, &g);
    if (g.is_too_large || !has_pixels(&g.resize))
        return;
    while (preprocess->decode == QD_DECODE_SCALED && part->eighths > 1 && g.from.height / 2 >= g.down.resized &&
           g.from.width / 2 >= g.across.resized) {
        part->eighths /= 2;
        plan_geometry(preprocess, part, &g);
    }
    *part = qd_image_whole(part->width, part->height, part->orientation, part->eighths);
    if (part->orientation == 1)
        part->window = qd_resize_reads(&g.resize, &g.from);
}

static enum qd_status resize_into(const struct qd_preprocess *preprocess, const struct qd_image *image,
                                  const struct geometry *g, uint8_t *out, struct qd_error *err)
{
    const struct qd_resize *resize = &g->resize;
    size_t n_channels = (size_t)qd_preprocess_channels(preprocess), stride = (size_t)g->across.size * n_channels;
    enum qd_status status;

    if (resize->crop_w < g->across.size || resize->crop_h < g->down.size)
        memset(out, preprocess->pad_value, qd_preprocess_bytes(preprocess));
    if (!has_pixels(resize))
        return QD_OK;
    out += (size_t)(resize->crop_y - g->down.start) * stride + (size_t)(resize->crop_x - g->across.start) * n_channels;
    status = qd_image_resize_part(image, &g->from, resize, out, stride, err);
    for (int y = 0; y < resize->crop_h && preprocess->color == QD_BGR && status == QD_OK; y++)
        swap_red_and_blue(out + (size_t)y * stride, resize->crop_w);
    return status;
}

enum qd_status qd_preprocess_run(const struct qd_preprocess *preprocess, const void *bytes, size_t size,
                                 const struct qd_image_limits *limits, uint8_t *out, struct qd_error *err)
{
    const struct qd_part_chooser chooser = {choose_part, preprocess};
    struct qd_image_part part;
    struct qd_image image;
    struct geometry g;
    enum qd_status status;

    assert(preprocess->size_h >= 1 && preprocess->size_h <= MAX_RESIZED_SIDE);
    assert(preprocess->size_w >= 1 && preprocess->size_w <= MAX_RESIZED_SIDE);
    assert(preprocess->crop_h >= 1 && preprocess->crop_w >= 1);
    status =
        qd_image_decode_part(bytes, size, qd_preprocess_channels(preprocess), limits, &chooser, &image, &part, err);
    if (status != QD_OK)
        return status;

    plan_geometry(preprocess, &part, &g);
    if (g.is_too_large)
        status = qd_error_set(err, QD_TOO_LARGE,
                              "a picture of %d x %d, resized to a shorter side of %d, has a side of %.0f pixels: "
                              "expected at most %d",
                              image.width, image.height, preprocess->size_h, fmax(g.resized_h, g.resized_w),
                              MAX_RESIZED_SIDE);
    else
        status = resize_into(preprocess, &image, &g, out, err);
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
    /* Keys of before there was this field mean full. */
    if (preprocess->decode != QD_DECODE_FULL)
        hash_int(hasher, "decode", (int)preprocess->decode);
}

/*
 * Pillow's Resample.c (9.x to 11.x give the same bytes): a filter stretched by the scale, weights in double, rounded
 * to fixed point; rows first, then columns, 8 bits in between; a pass is skipped where its side keeps its length.
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "config.h"
#include "image/image.h"
#include "image/internal.h"
#include "util/mem.h"

static double bilinear(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

/* Keys' cubic with a = -0.5 (R. Keys, 1981), in the order of operations of Pillow. */
static double bicubic(double x)
{
    x = fabs(x);
    if (x < 1.0)
        return ((-0.5 + 2.0) * x - (-0.5 + 3.0)) * x * x + 1;
    if (x < 2.0)
        return (((x - 5) * x + 8) * x - 4) * -0.5;
    return 0.0;
}

static const struct {
    double (*weight)(double x);
    double support; /* weight is 0 beyond */
} filters[] = {
    [QD_BILINEAR] = {bilinear, 1.0},
    [QD_BICUBIC] = {bicubic, 2.0},
};

/* One axis: length pixels from origin on become out_size, of which [start, start + n) is wanted. */
struct axis {
    double length, origin;
    int in_size;  /* pixels that length reaches into */
    int in_start; /* the first of them that is there */
    int out_size, start, n;
};

static void taps_done(struct qd_resample_taps *taps)
{
    qd_free(taps->first);
    qd_free(taps->n_inputs);
    qd_free(taps->weights);
    qd_free(taps->pairs);
}

/* The weights in the order of QD_RESAMPLE_PAIR; 0 where there is no input. */
static enum qd_status taps_pair(struct qd_resample_taps *taps, struct qd_error *err)
{
    size_t n_pairs = (size_t)(taps->stride + 1) / 2, n = (size_t)(taps->n_outputs + 1) / 2;
    enum qd_status status =
        qd_alloc_for((void **)&taps->pairs, n * n_pairs, QD_RESAMPLE_PAIR * sizeof(int16_t), "a resize", err);

    if (status != QD_OK)
        return status;
    taps->n_pairs = (int)n_pairs;
    for (int x = 0; x < taps->n_outputs; x++)
        for (int i = 0; i < taps->n_inputs[x]; i++) {
            int32_t weight = taps->weights[(size_t)x * (size_t)taps->stride + (size_t)i];
            int16_t *pair =
                taps->pairs + ((size_t)(x / 2) * n_pairs + (size_t)(i / 2)) * QD_RESAMPLE_PAIR + 8 * (x % 2) + i % 2;

            for (int lane = 0; lane < 8; lane += 2) {
                pair[lane] = (int16_t)(weight & 0x7fff);
                pair[16 + lane] = (int16_t)(weight >> 15);
            }
        }
    return QD_OK;
}

/* How far a step of the output reaches on the input, at least one pixel: the filter is stretched by that. */
static double filter_scale_of(const struct axis *axis)
{
    double scale = axis->length / axis->out_size;

    return scale < 1.0 ? 1.0 : scale;
}

/* The inputs [*ret_first, *ret_end) of output position i, and the position of its middle among them. */
static double reach_of(const struct axis *axis, enum qd_interpolation kind, int i, int *ret_first, int *ret_end)
{
    double support = filters[kind].support * filter_scale_of(axis);
    double center = axis->origin + (axis->start + i + 0.5) * (axis->length / axis->out_size);
    int first = (int)(center - support + 0.5);
    int end = (int)(center + support + 0.5);

    *ret_first = first < 0 ? 0 : first;
    *ret_end = end > axis->in_size ? axis->in_size : end;
    return center;
}

/* The filter around the middle of output position i, as Pillow's precompute_coeffs and normalize_coeffs_8bpc. */
static void taps_fill(struct qd_resample_taps *taps, int i, const struct axis *axis, enum qd_interpolation kind,
                      double *scratch)
{
    double inverse = 1.0 / filter_scale_of(axis);
    double total = 0.0;
    int first, end;
    double center = reach_of(axis, kind, i, &first, &end);

    taps->first[i] = first - axis->in_start;
    taps->n_inputs[i] = end - first;
    for (int j = 0; j < end - first; j++) {
        scratch[j] = filters[kind].weight((j + first - center + 0.5) * inverse);
        total += scratch[j];
    }
    for (int j = 0; j < end - first; j++) {
        double weight = total != 0.0 ? scratch[j] / total : scratch[j];

        taps->weights[(size_t)i * (size_t)taps->stride + (size_t)j] =
            (int32_t)((weight < 0 ? -0.5 : 0.5) + weight * (1 << QD_RESAMPLE_BITS));
    }
}

static enum qd_status taps_init(struct qd_resample_taps *taps, const struct axis *axis, enum qd_interpolation kind,
                                struct qd_error *err)
{
    int reach = (int)ceil(filters[kind].support * filter_scale_of(axis)) * 2 + 1;
    size_t n = (size_t)axis->n;
    double *scratch = NULL;
    enum qd_status status;

    *taps = (struct qd_resample_taps){.n_outputs = axis->n, .stride = reach};
    status = qd_alloc_for((void **)&taps->first, n, sizeof(int), "a resize", err);
    if (status == QD_OK)
        status = qd_alloc_for((void **)&taps->n_inputs, n, sizeof(int), "a resize", err);
    if (status == QD_OK)
        status = qd_alloc_for((void **)&taps->weights, n * (size_t)reach, sizeof(int32_t), "a resize", err);
    if (status == QD_OK)
        status = qd_alloc_for((void **)&scratch, (size_t)reach, sizeof(double), "a resize", err);
    if (status == QD_OK)
        for (int i = 0; i < axis->n; i++)
            taps_fill(taps, i, axis, kind, scratch);
    else
        taps_done(taps);
    qd_free(scratch);
    return status;
}

static size_t row_size_of(const struct qd_image *image)
{
    return (size_t)image->width * (size_t)image->n_channels;
}

/* Where a pass writes: rows that may lie apart. */
struct target {
    uint8_t *pixels;
    size_t stride;
    int width, height;
};

static bool keeps_length(const struct axis *axis)
{
    return axis->in_size == axis->out_size;
}

/* Rows [first_row, first_row + out->height) of in, to the columns of across. */
static enum qd_status pass_across(const struct qd_resample_tier *tier, const struct qd_image *in, int first_row,
                                  const struct axis *across, enum qd_interpolation kind, const struct target *out,
                                  struct qd_error *err)
{
    size_t in_row = row_size_of(in), out_row = (size_t)out->width * (size_t)in->n_channels;
    const uint8_t *from = in->pixels + (size_t)first_row * in_row;
    struct qd_resample_taps taps;
    enum qd_status status;

    if (keeps_length(across)) {
        size_t left = (size_t)(across->start - across->in_start) * (size_t)in->n_channels;

        for (int y = 0; y < out->height; y++)
            memcpy(out->pixels + (size_t)y * out->stride, from + (size_t)y * in_row + left, out_row);
        return QD_OK;
    }
    status = taps_init(&taps, across, kind, err);
    if (status != QD_OK)
        return status;
    taps.n_columns = in->width;
    if (tier->uses_pairs && in->n_channels == 3)
        status = taps_pair(&taps, err);
    for (int y = 0; y < out->height && status == QD_OK; y++)
        tier->across(from + (size_t)y * in_row, out->pixels + (size_t)y * out->stride, in->n_channels, &taps);
    taps_done(&taps);
    return status;
}

static enum qd_status resize_filtered(const struct qd_resample_tier *tier, const struct qd_image *in,
                                      const struct axis *across, const struct axis *down, enum qd_interpolation kind,
                                      const struct target *out, struct qd_error *err)
{
    struct qd_resample_taps taps = {0};
    struct qd_image middle = {0};
    struct target rows;
    size_t row_size = (size_t)across->n * (size_t)in->n_channels;
    int first, end;
    enum qd_status status;

    if (keeps_length(down))
        return pass_across(tier, in, down->start - down->in_start, across, kind, out, err);
    status = taps_init(&taps, down, kind, err);
    if (status != QD_OK)
        return status;

    /* Both ends of the taps only grow with the position, so the outer outputs bound the rows that are read. */
    first = taps.first[0];
    end = taps.first[down->n - 1] + taps.n_inputs[down->n - 1];
    status = qd_image_alloc(across->n, end - first, in->n_channels, &middle, err);
    rows = (struct target){middle.pixels, row_size, middle.width, middle.height};
    if (status == QD_OK)
        status = pass_across(tier, in, first, across, kind, &rows, err);
    if (status == QD_OK)
        for (int y = 0; y < down->n; y++)
            tier->down(middle.pixels + (size_t)(taps.first[y] - first) * row_size,
                       out->pixels + (size_t)y * out->stride, row_size, taps.weights + (size_t)y * (size_t)taps.stride,
                       taps.n_inputs[y]);
    qd_image_done(&middle);
    taps_done(&taps);
    return status;
}

/* Where each output of an axis reads. The position is summed step by step as Pillow's ImagingScaleAffine does it. */
static enum qd_status nearest_positions(const struct axis *axis, int **ret, struct qd_error *err)
{
    double step = axis->length / axis->out_size;
    double at = axis->origin + step * 0.5;
    int *positions = NULL;
    enum qd_status status = qd_alloc_for((void **)&positions, (size_t)axis->n, sizeof(int), "a resize", err);

    if (status != QD_OK)
        return status;
    for (int i = 0; i < axis->start + axis->n; i++) {
        if (i >= axis->start)
            positions[i - axis->start] = (at < axis->in_size ? (int)at : axis->in_size - 1) - axis->in_start;
        at += step;
    }
    *ret = positions;
    return QD_OK;
}

static enum qd_status resize_nearest(const struct qd_image *in, const struct axis *across, const struct axis *down,
                                     const struct target *out, struct qd_error *err)
{
    size_t n_channels = (size_t)in->n_channels;
    int *columns = NULL, *rows = NULL;
    enum qd_status status = nearest_positions(across, &columns, err);

    if (status == QD_OK)
        status = nearest_positions(down, &rows, err);
    if (status == QD_OK)
        for (int y = 0; y < down->n; y++) {
            const uint8_t *row = in->pixels + (size_t)rows[y] * row_size_of(in);
            uint8_t *to = out->pixels + (size_t)y * out->stride;

            for (int x = 0; x < across->n; x++)
                for (size_t c = 0; c < n_channels; c++)
                    *to++ = row[(size_t)columns[x] * n_channels + c];
        }
    qd_free(columns);
    qd_free(rows);
    return status;
}

static const struct qd_resample_tier *best_tier(void)
{
#ifdef QD_X86
    if (__builtin_cpu_supports("avx2"))
        return &qd_resample_avx2;
#endif
    return &qd_resample_scalar;
}

static struct axis across_of(const struct qd_resize *resize, const struct qd_resize_from *from)
{
    return (struct axis){.length = from->width,
                         .origin = from->left,
                         .in_size = (int)ceil(from->left + from->width),
                         .in_start = from->x,
                         .out_size = resize->width,
                         .start = resize->crop_x,
                         .n = resize->crop_w};
}

static struct axis down_of(const struct qd_resize *resize, const struct qd_resize_from *from)
{
    return (struct axis){.length = from->height,
                         .origin = from->top,
                         .in_size = (int)ceil(from->top + from->height),
                         .in_start = from->y,
                         .out_size = resize->height,
                         .start = resize->crop_y,
                         .n = resize->crop_h};
}

/* Nearest sums up its positions step by step; the pixels on either side are what rounding may come to. */
static void reads_of_axis(const struct axis *axis, enum qd_interpolation kind, int *ret_first, int *ret_n)
{
    double step = axis->length / axis->out_size;
    int first, end, ignored;

    if (kind == QD_NEAREST) {
        first = (int)(axis->start * step) - 1;
        end = (int)((axis->start + axis->n) * step) + 2;
    } else if (keeps_length(axis)) {
        first = axis->start;
        end = axis->start + axis->n;
    } else {
        reach_of(axis, kind, 0, &first, &ignored);
        reach_of(axis, kind, axis->n - 1, &ignored, &end);
    }
    *ret_first = first < 0 ? 0 : first;
    *ret_n = (end > axis->in_size ? axis->in_size : end) - *ret_first;
}

struct qd_rect qd_resize_reads(const struct qd_resize *resize, const struct qd_resize_from *from)
{
    struct axis across = across_of(resize, from), down = down_of(resize, from);
    struct qd_rect rect;

    reads_of_axis(&across, resize->interpolation, &rect.x, &rect.width);
    reads_of_axis(&down, resize->interpolation, &rect.y, &rect.height);
    return rect;
}

static enum qd_status resize_part_by(const struct qd_resample_tier *tier, const struct qd_image *in,
                                     const struct qd_resize_from *from, const struct qd_resize *resize,
                                     const struct target *out, struct qd_error *err)
{
    struct axis across = across_of(resize, from), down = down_of(resize, from);

    assert(across.start >= 0 && across.n >= 1 && across.n <= across.out_size - across.start);
    assert(down.start >= 0 && down.n >= 1 && down.n <= down.out_size - down.start);
    if (resize->interpolation == QD_NEAREST)
        return resize_nearest(in, &across, &down, out, err);
    return resize_filtered(tier, in, &across, &down, resize->interpolation, out, err);
}

enum qd_status qd_image_resize_part(const struct qd_image *in, const struct qd_resize_from *from,
                                    const struct qd_resize *resize, uint8_t *out, size_t out_stride,
                                    struct qd_error *err)
{
    struct target target = {out, out_stride, resize->crop_w, resize->crop_h};

    return resize_part_by(best_tier(), in, from, resize, &target, err);
}

enum qd_status qd_image_resize_by(const struct qd_resample_tier *tier, const struct qd_image *in,
                                  const struct qd_resize *resize, struct qd_image *ret, struct qd_error *err)
{
    struct qd_resize_from whole = {.width = in->width, .height = in->height};
    struct target target;
    struct qd_image out;
    enum qd_status status = qd_image_alloc(resize->crop_w, resize->crop_h, in->n_channels, &out, err);

    if (status != QD_OK)
        return status;
    target = (struct target){out.pixels, row_size_of(&out), out.width, out.height};
    status = resize_part_by(tier, in, &whole, resize, &target, err);
    if (status != QD_OK) {
        qd_image_done(&out);
        return status;
    }
    *ret = out;
    return QD_OK;
}

enum qd_status qd_image_resize(const struct qd_image *in, const struct qd_resize *resize, struct qd_image *ret,
                               struct qd_error *err)
{
    return qd_image_resize_by(best_tier(), in, resize, ret, err);
}

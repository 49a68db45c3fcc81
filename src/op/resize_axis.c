/* Where an output element of a Resize lies in the input, and what it is made of; the formulas are ONNX's. */
#include <math.h>

#include "op/resize.h"

/* The input coordinate of output element x. In float, as ONNX Runtime has it: ties of nearest depend on it. */
static float coordinate(const struct qd_resize_attrs *attrs, int64_t in, int64_t out, float scale, float begin,
                        float end, int64_t x)
{
    float length = (float)in, resized = (float)out, at = (float)x, adjustment;

    switch ((enum qd_resize_coordinates)attrs->coordinates) {
    case QD_COORDINATES_HALF_PIXEL:
        return (at + 0.5f) / scale - 0.5f;
    case QD_COORDINATES_HALF_PIXEL_SYMMETRIC:
        adjustment = resized / (scale * length);
        return length / 2 * (1 - adjustment) + (at + 0.5f) / scale - 0.5f;
    case QD_COORDINATES_PYTORCH_HALF_PIXEL:
        return out > 1 ? (at + 0.5f) / scale - 0.5f : 0;
    case QD_COORDINATES_ALIGN_CORNERS:
        return out > 1 ? at * (length - 1) / (resized - 1) : 0;
    case QD_COORDINATES_ASYMMETRIC:
        return at / scale;
    case QD_COORDINATES_TF_HALF_PIXEL_FOR_NN:
        return (at + 0.5f) / scale;
    case QD_COORDINATES_TF_CROP_AND_RESIZE:
    default:
        return out > 1 ? begin * (length - 1) + at * (end - begin) * (length - 1) / (resized - 1)
                       : 0.5f * (begin + end) * (length - 1);
    }
}

static float round_nearest(const struct qd_resize_attrs *attrs, float scale, float x)
{
    switch ((enum qd_resize_nearest)attrs->nearest) {
    case QD_NEAREST_PREFER_FLOOR:
        return ceilf(x - 0.5f);
    case QD_NEAREST_PREFER_CEIL:
        return floorf(x + 0.5f);
    case QD_NEAREST_FLOOR:
        return floorf(x);
    case QD_NEAREST_SIMPLE:
        return scale < 1 ? ceilf(x) : floorf(x);
    case QD_NEAREST_CEIL:
    default:
        return ceilf(x);
    }
}

/* The weight of an element at a distance: a triangle, or Keys' cubic. */
static double kernel(const struct qd_resize_attrs *attrs, double distance)
{
    double a = (double)attrs->cubic_a, x = fabs(distance);

    if (attrs->mode == QD_RESIZE_LINEAR)
        return x < 1 ? 1 - x : 0;
    if (x <= 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

static int64_t clamp(int64_t i, int64_t size)
{
    return i < 0 ? 0 : i >= size ? size - 1 : i;
}

/* The taps of one output element at coordinate x; `shrink` is how much wider the kernel is (1: as it is). */
static void fill_taps(const struct qd_resize_attrs *attrs, float x, double shrink, const struct qd_resize_axis *axis,
                      int32_t *indices, float *weights)
{
    int64_t first = (int64_t)floorf(x) - (axis->n_taps / 2 - 1);
    double sum = 0;

    for (int t = 0; t < axis->n_taps; t++) {
        int64_t i = first + t;
        double weight = kernel(attrs, ((double)i - (double)x) / shrink);

        if (attrs->exclude_outside && (i < 0 || i >= axis->in))
            weight = 0;
        indices[t] = (int32_t)clamp(i, axis->in);
        weights[t] = (float)weight;
        sum += weight;
    }
    for (int t = 0; t < axis->n_taps && (attrs->exclude_outside || shrink > 1) && (sum < 0 || sum > 0); t++)
        weights[t] = (float)((double)weights[t] / sum);
}

enum qd_status qd_resize_axis_init(const struct qd_resize_attrs *attrs, int64_t in, int64_t out, float scale,
                                   float begin, float end, struct qd_arena *arena, struct qd_resize_axis *axis,
                                   struct qd_error *err)
{
    double shrink = attrs->antialias && scale < 1 ? 1 / (double)scale : 1;
    double radius = (attrs->mode == QD_RESIZE_CUBIC ? 2 : 1) * shrink;
    bool crop = attrs->coordinates == QD_COORDINATES_TF_CROP_AND_RESIZE;
    size_t n;

    *axis = (struct qd_resize_axis){.in = in, .out = out};
    axis->n_taps = attrs->mode == QD_RESIZE_NEAREST ? 1 : 2 * (int)fmin(ceil(radius), 65536);
    n = (size_t)out * (size_t)axis->n_taps;
    axis->indices = qd_arena_array(arena, n + 1, sizeof(*axis->indices));
    axis->weights = qd_arena_array(arena, n + 1, sizeof(*axis->weights));
    axis->outside = crop ? qd_arena_array(arena, (size_t)out + 1, sizeof(*axis->outside)) : NULL;
    if (!axis->indices || !axis->weights || (crop && !axis->outside))
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a Resize");
    for (int64_t i = 0; i < out; i++) {
        float x = coordinate(attrs, in, out, scale, begin, end, i);

        /* Far outside is as good as the edge; and it fits an integer. */
        if (crop)
            axis->outside[i] = x < 0 || x > (float)(in - 1);
        x = fminf(fmaxf(x, -4), (float)in + 4);
        if (attrs->mode == QD_RESIZE_NEAREST) {
            axis->indices[i] = (int32_t)clamp((int64_t)round_nearest(attrs, scale, x), in);
            axis->weights[i] = 1;
        } else {
            fill_taps(attrs, x, shrink, axis, axis->indices + i * axis->n_taps, axis->weights + i * axis->n_taps);
        }
    }
    return QD_OK;
}

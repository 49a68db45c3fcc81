#include <math.h>
#include <string.h>

#include "op/ops.h"

#define MAX_AXES 3
#define MAX_TAPS 4 /* of an axis */
#define CUBIC_A (-0.75)

enum mode { NEAREST, LINEAR, CUBIC };
enum padding { ZEROS, BORDER, REFLECTION };

struct grid_params {
    enum mode mode;
    enum padding padding;
    int64_t align_corners;
};

/* One axis of one point: what is read, -1 for nothing, and how much it counts. */
struct taps {
    int n;
    int64_t at[MAX_TAPS];
    double weight[MAX_TAPS];
};

/* The index of a string attribute in names[0..n-1]. */
static enum qd_status read_name(const struct qd_node *node, const char *attribute, const char *const *names, int n,
                                int *ret, struct qd_error *err)
{
    const char *text;
    enum qd_status status = qd_node_attr_string(node, attribute, names[0], &text, err);

    if (status != QD_OK)
        return status;
    for (int i = 0; i < n; i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret = i;
            return QD_OK;
        }
    }
    return qd_error_set(err, QD_INVALID, "%s: expected %s, %s or %s, found '%.40s'", attribute, names[0], names[1],
                        names[2], text);
}

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    static const char *const modes16[] = {"bilinear", "nearest", "bicubic"};
    static const char *const modes20[] = {"linear", "nearest", "cubic"};
    static const char *const paddings[] = {"zeros", "border", "reflection"};
    static const enum mode modes[] = {LINEAR, NEAREST, CUBIC};
    struct grid_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    int mode = 0, padding = 0;
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    status = read_name(node, "mode", node->opset < 20 ? modes16 : modes20, 3, &mode, err);
    if (status == QD_OK)
        status = read_name(node, "padding_mode", paddings, 3, &padding, err);
    if (status == QD_OK)
        status = qd_node_attr_int(node, "align_corners", 0, &params->align_corners, err);
    params->mode = modes[mode];
    params->padding = (enum padding)padding;
    return status;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct qd_shape in = qd_node_input(graph, node, 0)->shape, grid = qd_node_input(graph, node, 1)->shape;
    struct qd_shape out = in;
    char text[QD_SHAPE_TEXT_SIZE], text2[QD_SHAPE_TEXT_SIZE];
    enum qd_status status = qd_op_need_f32(graph, node, 0, err);

    if (status == QD_OK)
        status = qd_op_need_f32(graph, node, 1, err);
    if (status != QD_OK)
        return status;
    if (in.n_dims < 3 || in.n_dims > 2 + MAX_AXES || grid.n_dims != in.n_dims || grid.dims[0] != in.dims[0] ||
        grid.dims[grid.n_dims - 1] != in.n_dims - 2)
        return qd_error_set(err, in.n_dims > 2 + MAX_AXES ? QD_UNSUPPORTED : QD_INVALID,
                            "expected an input of 3 to 5 dimensions and a grid [n,...,%d], found %s and %s",
                            in.n_dims - 2, qd_shape_text(&in, text), qd_shape_text(&grid, text2));
    for (int d = 2; d < in.n_dims; d++) {
        if (in.dims[d] < 1)
            return qd_error_set(err, QD_INVALID, "expected an input with elements, found %s", qd_shape_text(&in, text));
        out.dims[d] = grid.dims[d - 1];
    }
    return qd_op_set_output(graph, node, 0, QD_F32, &out, err);
}

/* Thrown back at both ends, as often as it takes. */
static double reflect(double x, double low, double high)
{
    double range = high - low, past = x < low ? low - x : x - high, rest;
    bool even;

    if (x >= low && x <= high)
        return x;
    if (range <= 0)
        return low;
    rest = fmod(past, range);
    even = fmod(floor(past / range), 2) == 0;
    return (x < low) == even ? low + rest : high - rest;
}

static double clamp(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

/* The taps around x, whose first is at or before it, with their weights. */
static void weigh(enum mode mode, double x, struct taps *ret)
{
    double first = floor(x), t = x - first;

    ret->n = mode == NEAREST ? 1 : mode == LINEAR ? 2 : 4;
    for (int i = 0; i < ret->n; i++) {
        double from = fabs(t - (mode == CUBIC ? i - 1 : i)), a = CUBIC_A;

        ret->at[i] = (int64_t)first + (mode == CUBIC ? i - 1 : i);
        if (mode == CUBIC)
            ret->weight[i] = from <= 1 ? ((a + 2) * from - (a + 3)) * from * from + 1
                                       : ((a * from - 5 * a) * from + 8 * a) * from - 4 * a;
        else
            ret->weight[i] = mode == NEAREST ? 1 : 1 - from;
    }
}

/* x: -1 .. 1 over the axis. As ONNX's reference: the point is brought inside, then each tap. */
static void taps_of(const struct grid_params *params, float coordinate, int64_t size, struct taps *ret)
{
    double low = params->align_corners ? 0 : -0.5, high = (double)size - (params->align_corners ? 1 : 0.5), x;

    x = isnan(coordinate) ? -1 : clamp((double)coordinate, -1e6, 1e6);
    x = params->align_corners ? (x + 1) / 2 * (double)(size - 1) : ((x + 1) * (double)size - 1) / 2;
    x = params->mode == NEAREST ? rint(x) : x;
    if (params->padding == REFLECTION)
        x = reflect(x, low, high);
    else if (params->padding == BORDER && (x < low || x > high))
        x = clamp(x, 0, (double)(size - 1));
    weigh(params->mode, x, ret);
    for (int i = 0; i < ret->n; i++) {
        double at = (double)ret->at[i];

        if (params->padding == REFLECTION)
            at = clamp(reflect(at, low, high), 0, (double)(size - 1));
        else if (params->padding == BORDER)
            at = clamp(at, 0, (double)(size - 1));
        ret->at[i] = at >= 0 && at < (double)size ? (int64_t)at : -1;
    }
}

/* All that one point reads of a channel: positions and weights; the number of them. */
static int gather(const struct grid_params *params, const float *point, const struct qd_shape *in, int64_t *positions,
                  double *weights)
{
    int n_axes = in->n_dims - 2, n = 1;

    positions[0] = 0;
    weights[0] = 1;
    for (int axis = 0; axis < n_axes; axis++) {
        struct taps taps;
        int64_t size = in->dims[2 + axis];
        int n_before = n;

        /* The grid has x first. */
        taps_of(params, point[n_axes - 1 - axis], size, &taps);
        n *= taps.n;
        for (int i = n - 1; i >= 0; i--) {
            int before = i % n_before, tap = i / n_before;
            bool inside = positions[before] >= 0 && taps.at[tap] >= 0;

            positions[i] = inside ? positions[before] * size + taps.at[tap] : -1;
            weights[i] = weights[before] * taps.weight[tap];
        }
    }
    return n;
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct qd_shape *shape = in[0].shape;
    int n_axes = shape->n_dims - 2;
    int64_t n_images = shape->dims[0], c = shape->dims[1], size = 1, n_points = 1;
    int64_t positions[MAX_TAPS * MAX_TAPS * MAX_TAPS];
    double weights[MAX_TAPS * MAX_TAPS * MAX_TAPS];

    (void)run;
    for (int axis = 0; axis < n_axes; axis++) {
        size *= shape->dims[2 + axis];
        n_points *= out[0].shape->dims[2 + axis];
    }
    for (int64_t p = 0; p < n_images * n_points; p++) {
        const float *x = (const float *)in[0].data + p / n_points * c * size;
        float *y = (float *)out[0].data + p / n_points * c * n_points + p % n_points;
        int n = gather(node->params, (const float *)in[1].data + p * n_axes, shape, positions, weights);

        for (int64_t i = 0; i < c; i++) {
            double sum = 0;

            for (int t = 0; t < n; t++)
                if (positions[t] >= 0)
                    sum += weights[t] * (double)x[i * size + positions[t]];
            y[i * n_points] = (float)sum;
        }
    }
}

const struct qd_op qd_op_grid_sample = {
    .name = "GridSample",
    .min_opset = 16,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 2,
    .n_outputs = 1,
    .limits = "fp32",
    .parse = parse,
    .infer = infer,
    .run_f32 = run_f32,
};

/* Softmax, LogSoftmax and Hardmax: functions of the elements along an axis. */
#include <math.h>

#include "op/ops.h"

struct softmax_params {
    int64_t axis;
    int64_t outer, n, inner; /* set by infer */
};

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct softmax_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    return qd_node_attr_int(node, "axis", node->opset >= 13 ? -1 : 1, &params->axis, err);
}

/* Before opset 13 all dimensions from axis on are one. */
static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct softmax_params *params = node->params;
    const struct qd_shape *shape = &qd_node_input(graph, node, 0)->shape;
    enum qd_status status = qd_op_need_f32(graph, node, 0, err);
    int axis;

    if (status == QD_OK)
        status = qd_op_axis(params->axis, shape->n_dims, &axis, err);
    if (status != QD_OK)
        return status;
    params->outer = params->n = params->inner = 1;
    for (int d = 0; d < shape->n_dims; d++) {
        if (d < axis)
            params->outer *= shape->dims[d];
        else if (d == axis || node->opset < 13)
            params->n *= shape->dims[d];
        else
            params->inner *= shape->dims[d];
    }
    return qd_op_infer_same(graph, node, err);
}

/* n elements, stride apart. */
typedef void along(const float *x, float *y, int64_t n, int64_t stride);

static float largest_of(const float *x, int64_t n, int64_t stride)
{
    float largest = -INFINITY;

    for (int64_t j = 0; j < n; j++)
        largest = fmaxf(largest, x[j * stride]);
    return largest;
}

static void softmax(const float *x, float *y, int64_t n, int64_t stride)
{
    float largest = largest_of(x, n, stride), sum = 0;

    for (int64_t j = 0; j < n; j++) {
        y[j * stride] = expf(x[j * stride] - largest);
        sum += y[j * stride];
    }
    for (int64_t j = 0; j < n; j++)
        y[j * stride] /= sum;
}

static void log_softmax(const float *x, float *y, int64_t n, int64_t stride)
{
    float largest = largest_of(x, n, stride), sum = 0;

    for (int64_t j = 0; j < n; j++)
        sum += expf(x[j * stride] - largest);
    sum = logf(sum);
    for (int64_t j = 0; j < n; j++)
        y[j * stride] = x[j * stride] - largest - sum;
}

/* 1 for the first of the largest, 0 for the others. */
static void hardmax(const float *x, float *y, int64_t n, int64_t stride)
{
    float largest = largest_of(x, n, stride);
    bool found = false;

    for (int64_t j = 0; j < n; j++) {
        y[j * stride] = !found && x[j * stride] == largest;
        found = found || x[j * stride] == largest;
    }
}

static void run_along(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out, along *function)
{
    const struct softmax_params *params = node->params;
    int64_t n = params->n, inner = params->inner;

    for (int64_t i = 0; i < params->outer * inner; i++) {
        int64_t at = i / inner * n * inner + i % inner;

        function((const float *)in[0].data + at, (float *)out[0].data + at, n, inner);
    }
}

#define OP(function, onnx_name)                                                                                        \
    static void function##_run(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,        \
                               const struct qd_f32_run *run)                                                           \
    {                                                                                                                  \
        (void)run;                                                                                                     \
        run_along(node, in, out, function);                                                                            \
    }                                                                                                                  \
    const struct qd_op qd_op_##function = {                                                                            \
        .name = onnx_name,                                                                                             \
        .min_opset = 7,                                                                                                \
        .max_opset = 22,                                                                                               \
        .min_inputs = 1,                                                                                               \
        .max_inputs = 1,                                                                                               \
        .n_outputs = 1,                                                                                                \
        .parse = parse,                                                                                                \
        .infer = infer,                                                                                                \
        .run_f32 = function##_run,                                                                                     \
    }

OP(softmax, "Softmax");
OP(log_softmax, "LogSoftmax");
OP(hardmax, "Hardmax");

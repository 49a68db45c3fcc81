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

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct softmax_params *params = node->params;
    int64_t n = params->n, inner = params->inner;

    (void)run;
    for (int64_t i = 0; i < params->outer * inner; i++) {
        const float *x = (const float *)in[0].data + i / inner * n * inner + i % inner;
        float *y = (float *)out[0].data + i / inner * n * inner + i % inner;
        float largest = -INFINITY, sum = 0;

        for (int64_t j = 0; j < n; j++)
            largest = fmaxf(largest, x[j * inner]);
        for (int64_t j = 0; j < n; j++) {
            y[j * inner] = expf(x[j * inner] - largest);
            sum += y[j * inner];
        }
        for (int64_t j = 0; j < n; j++)
            y[j * inner] /= sum;
    }
}

const struct qd_op qd_op_softmax = {
    .name = "Softmax",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .parse = parse,
    .infer = infer,
    .run_f32 = run_f32,
};

#include <math.h>

#include "op/ops.h"

struct lp_params {
    int64_t given_axis, p;
    int axis; /* set by infer */
};

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct lp_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    status = qd_node_attr_int(node, "axis", -1, &params->given_axis, err);
    if (status == QD_OK)
        status = qd_node_attr_int(node, "p", 2, &params->p, err);
    if (status == QD_OK && params->p != 1 && params->p != 2)
        return qd_error_set(err, QD_INVALID, "p: expected 1 or 2, found %lld", (long long)params->p);
    return status;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct lp_params *params = node->params;
    enum qd_status status = qd_op_need_f32(graph, node, 0, err);

    if (status == QD_OK)
        status = qd_op_axis(params->given_axis, qd_node_input(graph, node, 0)->shape.n_dims, &params->axis, err);
    return status == QD_OK ? qd_op_infer_same(graph, node, err) : status;
}

/* A vector of zeros stays one. */
static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct lp_params *params = node->params;
    const struct qd_shape *shape = in[0].shape;
    int64_t n = shape->dims[params->axis], inner = 1, outer = 1;

    (void)run;
    for (int d = 0; d < params->axis; d++)
        outer *= shape->dims[d];
    for (int d = params->axis + 1; d < shape->n_dims; d++)
        inner *= shape->dims[d];
    for (int64_t i = 0; i < outer * inner; i++) {
        int64_t first = i / inner * n * inner + i % inner;
        const float *x = (const float *)in[0].data + first;
        float *y = (float *)out[0].data + first;
        double sum = 0;

        for (int64_t j = 0; j < n * inner; j += inner)
            sum += params->p == 2 ? (double)x[j] * (double)x[j] : fabs((double)x[j]);
        sum = params->p == 2 ? sqrt(sum) : sum;
        for (int64_t j = 0; j < n * inner; j += inner)
            y[j] = sum > 0 ? (float)((double)x[j] / sum) : x[j];
    }
}

const struct qd_op qd_op_lp_normalization = {
    .name = "LpNormalization",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .limits = "fp32",
    .parse = parse,
    .infer = infer,
    .run_f32 = run_f32,
};

#include <math.h>

#include "op/ops.h"
#include "op/pool.h"

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    enum qd_status status = qd_op_need_f32(graph, node, 0, err);

    return status == QD_OK ? qd_pool_infer(graph, node, err) : status;
}

static size_t scratch_f32(const struct qd_graph *graph, const struct qd_node *node)
{
    return (size_t)qd_shape_count(&graph->values[node->inputs[0]].shape) * sizeof(float);
}

/* The p-th root of the sum of |x|^p under the window. */
static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct qd_pool_attrs *attrs = node->params;
    int64_t n_in = qd_shape_count(in[0].shape), n_out = qd_shape_count(out[0].shape);
    const float *x = in[0].data;
    float *powers = run->scratch, *y = out[0].data, p = (float)attrs->p;

    for (int64_t i = 0; i < n_in; i++)
        powers[i] = attrs->p == 2 ? x[i] * x[i] : attrs->p == 1 ? fabsf(x[i]) : powf(fabsf(x[i]), p);
    qd_pool_sum(&attrs->window, in[0].shape, powers, out[0].shape, y);
    for (int64_t i = 0; i < n_out && attrs->p != 1; i++)
        y[i] = attrs->p == 2 ? sqrtf(y[i]) : powf(y[i], 1 / p);
}

const struct qd_op qd_op_lp_pool = {
    .name = "LpPool",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .limits = "fp32",
    .parse = qd_pool_parse,
    .infer = infer,
    .scratch_f32 = scratch_f32,
    .run_f32 = run_f32,
};

const struct qd_op qd_op_global_lp_pool = {
    .name = "GlobalLpPool",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .limits = "fp32",
    .parse = qd_pool_parse_global,
    .infer = infer,
    .scratch_f32 = scratch_f32,
    .run_f32 = run_f32,
};

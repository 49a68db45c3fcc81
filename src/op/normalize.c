#include "op/normalize.h"

#include "op/ops.h"
#include "op/q8.h"

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct qd_normalize_params *params = node->params;
    int64_t channels = in[0].shape->dims[1], size = qd_shape_count(in[0].shape) / channels;
    const float *x = in[0].data;
    float *y = out[0].data;

    (void)run;
    for (int64_t c = 0; c < channels; c++)
        for (int64_t i = c * size; i < (c + 1) * size; i++)
            y[i] = x[i] * params->scale[c] + params->bias[c];
}

static bool supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    (void)graph;
    (void)node;
    return true;
}

static void line_of(const void *context, int c, double *ret_mult, double *ret_add)
{
    const struct qd_normalize_params *params = context;

    *ret_mult = (double)params->scale[c];
    *ret_add = (double)params->bias[c];
}

static enum qd_status prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err)
{
    return qd_q8_lines_prepare(prepare, line_of, prepare->node->params, err);
}

const struct qd_op qd_op_normalize = {
    .name = "quantd.Normalize",
    .min_opset = 1,
    .max_opset = 1000,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .infer = qd_op_infer_same,
    .run_f32 = run_f32,
    .supports_q8 = supports_q8,
    .prepare_q8 = prepare_q8,
    .run_q8 = qd_q8_lines_run,
};

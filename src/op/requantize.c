/* Rounding as a node of its own, where a value is read both rounded and not, or rounded in two ways. */
#include <string.h>

#include "op/unary.h"

/* Copies: that the output is rounded is said by its own given qparams. */
static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    (void)node;
    (void)run;
    memcpy(out[0].data, in[0].data, (size_t)qd_shape_count(in[0].shape) * sizeof(float));
}

static float same(const void *context, float x)
{
    (void)context;
    return x;
}

static enum qd_status prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err)
{
    return qd_q8_table_prepare(prepare, same, NULL, err);
}

static bool same_steps(const struct qd_value *a, const struct qd_value *b)
{
    if (!a->channel_steps || !b->channel_steps)
        return a->channel_steps == b->channel_steps;
    return memcmp(a->channel_steps, b->channel_steps, (size_t)a->shape.dims[1] * sizeof(float)) == 0;
}

/* Between equal scales there is nothing to do. */
static bool keeps_bytes(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_value *in = &graph->values[node->inputs[0]], *out = &graph->values[node->outputs[0]];

    return in->q.scale == out->q.scale && in->q.zero_point == out->q.zero_point && in->q.bits == out->q.bits &&
           same_steps(in, out) && in->producer >= 0;
}

const struct qd_op qd_op_requantize = {
    .name = "quantd.Requantize",
    .min_opset = 1,
    .max_opset = 1000,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .flags = QD_OP_COPY | QD_OP_STEPS | QD_OP_ANY_ORDER,
    .infer = qd_unary_infer,
    .run_f32 = run_f32,
    .keeps_bytes = keeps_bytes,
    .supports_q8 = qd_unary_supports_q8,
    .channel_source = qd_op_same_channel,
    .prepare_q8 = prepare_q8,
    .run_q8 = qd_q8_table_run,
};

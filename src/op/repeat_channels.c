/* Each channel several times in a row: a pass puts it in front of depthwise convolutions with a channel multiplier. */
#include "op/repeat_channels.h"

#include <string.h>

#include "op/move.h"

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct qd_value *in = qd_node_input(graph, node, 0);
    struct qd_shape out = in->shape;

    out.dims[1] *= ((const struct qd_repeat_channels_params *)node->params)->times;
    return qd_op_set_output(graph, node, 0, in->dtype, &out, err);
}

/* [c,times,h,w] of [1,c,h,w]. */
static void move_of(const struct qd_node *node, int i, const struct qd_move_side *in, const struct qd_move_side *out,
                    struct qd_move *ret)
{
    int64_t times = ((const struct qd_repeat_channels_params *)node->params)->times;

    (void)i;
    memset(ret, 0, sizeof(*ret));
    ret->n_dims = 4;
    ret->dims[0] = in->shape->dims[1];
    ret->in_strides[0] = in->strides[1];
    ret->out_strides[0] = times * out->strides[1];
    ret->dims[1] = times;
    ret->out_strides[1] = out->strides[1];
    for (int d = 2; d < 4; d++) {
        ret->dims[d] = in->shape->dims[d];
        ret->in_strides[d] = in->strides[d];
        ret->out_strides[d] = out->strides[d];
    }
}

static bool channel_source(const struct qd_graph *graph, const struct qd_node *node, int output, int64_t c,
                           struct qd_channel *ret)
{
    (void)graph;
    (void)output;
    *ret = (struct qd_channel){node->inputs[0], c / ((const struct qd_repeat_channels_params *)node->params)->times};
    return true;
}

QD_ONE_MOVE(repeat_channels_, move_of)

const struct qd_op qd_op_repeat_channels = {
    .name = "quantd.RepeatChannels",
    .min_opset = 1,
    .max_opset = 1000,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .flags = QD_OP_SAME_SCALE | QD_OP_STEPS,
    .infer = infer,
    .channel_source = channel_source,
    QD_ONE_MOVE_FIELDS(repeat_channels_),
};

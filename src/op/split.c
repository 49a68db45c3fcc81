#include <string.h>

#include "op/move.h"

struct split_params {
    int64_t given_axis, num_outputs;
    const int64_t *sizes;
    int n_sizes;
    int axis;    /* set by infer */
    int64_t *at; /* where each output begins on the axis; set by infer */
};

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct split_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    enum qd_status status;

    if (!params || !(params->at = qd_arena_array(&graph->arena, (size_t)node->n_outputs, sizeof(int64_t))))
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    status = qd_node_attr_int(node, "axis", 0, &params->given_axis, err);
    if (status == QD_OK)
        status = qd_node_attr_int(node, "num_outputs", 0, &params->num_outputs, err);
    if (status == QD_OK)
        status = qd_node_attr_ints(node, "split", &params->sizes, &params->n_sizes, err);
    return status;
}

#define MAX_OUTPUTS 1024

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct split_params *params = node->params;
    const struct qd_value *in = qd_node_input(graph, node, 0);
    enum qd_dtype dtype = in->dtype;
    struct qd_shape out = in->shape;
    int64_t given[MAX_OUTPUTS], at = 0, size;
    int n = 0;
    enum qd_status status = qd_op_axis(params->given_axis, out.n_dims, &params->axis, err);

    if (status == QD_OK && qd_node_input(graph, node, 1))
        status = qd_op_const_ints(graph, node, 1, MAX_OUTPUTS, given, &n, err);
    if (status != QD_OK)
        return status;
    for (int i = 0; i < params->n_sizes && i < MAX_OUTPUTS && !qd_node_input(graph, node, 1); i++)
        given[n++] = params->sizes[i];
    size = out.dims[params->axis];
    if (!n && params->num_outputs == node->n_outputs && size > 0) /* since opset 18 the last may be smaller */
        for (int64_t each = (size + node->n_outputs - 1) / node->n_outputs; n < node->n_outputs && n < MAX_OUTPUTS; n++)
            given[n] = n < node->n_outputs - 1 ? each : size - each * n;
    if (n ? n != node->n_outputs : size % node->n_outputs != 0)
        return qd_error_set(err, QD_INVALID, "split: %lld into %d outputs by %d sizes", (long long)size,
                            node->n_outputs, n);
    for (int i = 0; i < node->n_outputs; i++) {
        params->at[i] = at;
        out.dims[params->axis] = n ? given[i] : size / node->n_outputs;
        if (out.dims[params->axis] < 0 || out.dims[params->axis] > size - at)
            return qd_error_set(err, QD_INVALID, "split: expected 0..%lld, found %lld", (long long)(size - at),
                                (long long)out.dims[params->axis]);
        at += out.dims[params->axis];
        status = qd_op_set_output(graph, node, i, dtype, &out, err);
        if (status != QD_OK)
            return status;
    }
    return QD_OK;
}

static void move_of(const struct qd_node *node, int i, const struct qd_move_side *in, const struct qd_move_side *out,
                    struct qd_move *ret)
{
    const struct split_params *params = node->params;

    memset(ret, 0, sizeof(*ret));
    ret->output = i;
    ret->n_dims = out->shape->n_dims;
    memcpy(ret->dims, out->shape->dims, sizeof(ret->dims));
    memcpy(ret->in_strides, in->strides, sizeof(ret->in_strides));
    memcpy(ret->out_strides, out->strides, sizeof(ret->out_strides));
    ret->in_at = params->at[i] * ret->in_strides[params->axis];
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    (void)run;
    qd_move_run_views(node, in, out, node->n_outputs, move_of);
}

static bool supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    for (int i = 0; i < node->n_outputs; i++)
        if (node->outputs[i] != QD_NO_VALUE && qd_shape_count(&graph->values[node->outputs[i]].shape) <= 0)
            return false;
    return true;
}

static bool channel_source(const struct qd_graph *graph, const struct qd_node *node, int output, int64_t c,
                           struct qd_channel *ret)
{
    const struct split_params *params = node->params;

    (void)graph;
    *ret = (struct qd_channel){node->inputs[0], params->axis == 1 ? params->at[output] + c : c};
    return true;
}

static enum qd_status prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err)
{
    return qd_move_prepare_q8(prepare, prepare->node->n_outputs, move_of, err);
}

const struct qd_op qd_op_split = {
    .name = "Split",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 2,
    .limits = "constant sizes",
    .n_outputs = 0,
    .flags = QD_OP_SAME_SCALE | QD_OP_MOVES | QD_OP_STEPS | QD_OP_ANY_ORDER,
    .parse = parse,
    .infer = infer,
    .run_f32 = run_f32,
    .supports_q8 = supports_q8,
    .channel_source = channel_source,
    .prepare_q8 = prepare_q8,
    .run_q8 = qd_move_run_q8,
};

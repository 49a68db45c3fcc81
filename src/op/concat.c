#include <string.h>

#include "op/move.h"

struct concat_params {
    int64_t given_axis;
    int axis;    /* set by infer */
    int64_t *at; /* where each input begins on the axis; set by infer */
};

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct concat_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));

    if (!params || !(params->at = qd_arena_array(&graph->arena, (size_t)node->n_inputs, sizeof(int64_t))))
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    if (!qd_node_attr(node, "axis"))
        return qd_error_set(err, QD_INVALID, "axis: expected an int, found none");
    return qd_node_attr_int(node, "axis", 0, &params->given_axis, err);
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct concat_params *params = node->params;
    const struct qd_value *first = qd_node_input(graph, node, 0);
    struct qd_shape out = first->shape;
    char text[QD_SHAPE_TEXT_SIZE], text2[QD_SHAPE_TEXT_SIZE];
    enum qd_status status = qd_op_axis(params->given_axis, out.n_dims, &params->axis, err);

    if (status != QD_OK)
        return status;
    out.dims[params->axis] = 0;
    for (int i = 0; i < node->n_inputs; i++) {
        const struct qd_value *value = qd_node_input(graph, node, i);
        struct qd_shape shape;

        if (!value || value->dtype != first->dtype)
            return qd_error_set(err, QD_INVALID, "input %d: expected a %s tensor", i, qd_dtype_name(first->dtype));
        shape = value->shape;
        params->at[i] = out.dims[params->axis];
        if (shape.n_dims == out.n_dims) {
            out.dims[params->axis] += shape.dims[params->axis];
            shape.dims[params->axis] = out.dims[params->axis];
        }
        if (!qd_shape_equal(&shape, &out))
            return qd_error_set(err, QD_INVALID, "inputs 0 and %d do not fit on axis %d: %s and %s", i, params->axis,
                                qd_shape_text(&first->shape, text), qd_shape_text(&value->shape, text2));
    }
    return qd_op_set_output(graph, node, 0, first->dtype, &out, err);
}

static void move_of(const struct qd_node *node, int i, const struct qd_move_side *in, const struct qd_move_side *out,
                    struct qd_move *ret)
{
    const struct concat_params *params = node->params;

    memset(ret, 0, sizeof(*ret));
    ret->input = i;
    ret->n_dims = in->shape->n_dims;
    memcpy(ret->dims, in->shape->dims, sizeof(ret->dims));
    memcpy(ret->in_strides, in->strides, sizeof(ret->in_strides));
    memcpy(ret->out_strides, out->strides, sizeof(ret->out_strides));
    ret->out_at = params->at[i] * ret->out_strides[params->axis];
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    (void)run;
    qd_move_run_views(node, in, out, node->n_inputs, move_of);
}

/* Side by side in whole blocks. */
static unsigned blocks_take(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct concat_params *params = node->params;

    if (params->axis != 1 || node->n_inputs > QD_BLOCKS_INPUTS)
        return 0;
    for (int i = 0; i < node->n_inputs; i++) {
        const struct qd_value *in = qd_node_input(graph, node, i);

        if (in->dtype != QD_F32 || in->shape.n_dims != 4 || in->shape.dims[0] != 1 || in->shape.dims[1] % QD_F32_BLOCK)
            return 0;
    }
    return ((1u << node->n_inputs) - 1) | QD_BLOCKS_OUTPUT;
}

static void run_blocks(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                       const struct qd_f32_run *run)
{
    float *y = out[0].data;

    (void)run;
    for (int i = 0; i < node->n_inputs; i++) {
        size_t n = qd_blocks_count(in[i].shape);

        if (n)
            memcpy(y, in[i].data, n * sizeof(float));
        y += n;
    }
}

static const struct qd_op_blocks blocks = {blocks_take, NULL, NULL, run_blocks};

static bool supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    for (int i = 0; i < node->n_inputs; i++)
        if (graph->values[node->inputs[i]].data || qd_shape_count(&graph->values[node->inputs[i]].shape) <= 0)
            return false;
    return node->act.kind == QD_ACT_NONE;
}

static int64_t joins_at(const struct qd_graph *graph, const struct qd_node *node, int input)
{
    const struct concat_params *params = node->params;

    (void)graph;
    return params->axis == 1 ? params->at[input] : -1;
}

static bool channel_source(const struct qd_graph *graph, const struct qd_node *node, int output, int64_t c,
                           struct qd_channel *ret)
{
    const struct concat_params *params = node->params;
    int i = 0;

    (void)graph;
    (void)output;
    while (i + 1 < node->n_inputs && params->at[i + 1] <= c)
        i++;
    *ret = (struct qd_channel){node->inputs[i], c - params->at[i]};
    return params->axis == 1;
}

static enum qd_status prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err)
{
    return qd_move_prepare_q8(prepare, prepare->node->n_inputs, move_of, err);
}

const struct qd_op qd_op_concat = {
    .name = "Concat",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = -1,
    .limits = "int8: activations only",
    .n_outputs = 1,
    .flags = QD_OP_SAME_SCALE | QD_OP_MOVES | QD_OP_STEPS | QD_OP_ANY_ORDER,
    .parse = parse,
    .infer = infer,
    .run_f32 = run_f32,
    .blocks = &blocks,
    .joins_at = joins_at,
    .supports_q8 = supports_q8,
    .channel_source = channel_source,
    .prepare_q8 = prepare_q8,
    .run_q8 = qd_move_run_q8,
};

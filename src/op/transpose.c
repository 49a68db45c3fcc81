#include "op/transpose.h"

#include <string.h>

#include "op/move.h"
#include "op/q8.h"

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct qd_transpose_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    return qd_node_attr_ints(node, "perm", &params->given, &params->n_given, err);
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct qd_transpose_params *params = node->params;
    const struct qd_value *in = qd_node_input(graph, node, 0);
    struct qd_shape out = in->shape;
    bool seen[QD_MAX_DIMS] = {false};

    if (params->n_given && params->n_given != in->shape.n_dims)
        return qd_error_set(err, QD_INVALID, "perm: expected %d values, found %d", in->shape.n_dims, params->n_given);
    for (int d = 0; d < in->shape.n_dims; d++) {
        int64_t from = params->n_given ? params->given[d] : in->shape.n_dims - 1 - d;

        if (from < 0 || from >= in->shape.n_dims || seen[from])
            return qd_error_set(err, QD_INVALID, "perm: expected each of 0..%d once, found %lld", in->shape.n_dims - 1,
                                (long long)from);
        seen[from] = true;
        params->perm[d] = (int)from;
        out.dims[d] = in->shape.dims[from];
    }
    return qd_op_set_output(graph, node, 0, in->dtype, &out, err);
}

static void move_of(const struct qd_node *node, int i, const struct qd_move_side *in, const struct qd_move_side *out,
                    struct qd_move *ret)
{
    const struct qd_transpose_params *params = node->params;

    (void)i;
    memset(ret, 0, sizeof(*ret));
    ret->n_dims = out->shape->n_dims;
    memcpy(ret->dims, out->shape->dims, sizeof(ret->dims));
    memcpy(ret->out_strides, out->strides, sizeof(ret->out_strides));
    for (int d = 0; d < ret->n_dims; d++)
        ret->in_strides[d] = in->strides[params->perm[d]];
}

QD_ONE_MOVE(transpose_, move_of)

/* Between a picture and its rows, above all; the place of dimensions of 1 says nothing. */
static bool keeps_bytes(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_transpose_params *params = node->params;
    const struct qd_value *in = &graph->values[node->inputs[0]], *out = &graph->values[node->outputs[0]];
    int64_t in_strides[QD_MAX_DIMS], out_strides[QD_MAX_DIMS];

    qd_q8_strides(in, in_strides);
    qd_q8_strides(out, out_strides);
    for (int d = 0; d < out->shape.n_dims; d++)
        if (out->shape.dims[d] != 1 && in_strides[params->perm[d]] != out_strides[d])
            return false;
    return true;
}

const struct qd_op qd_op_transpose = {
    .name = "Transpose",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .flags = QD_OP_SAME_SCALE | QD_OP_MOVES | QD_OP_STEPS | QD_OP_TWO_ORDERS,
    .parse = parse,
    .infer = infer,
    .keeps_bytes = keeps_bytes,
    QD_ONE_MOVE_FIELDS(transpose_),
};

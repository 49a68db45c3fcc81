#include <string.h>

#include "op/move.h"

struct tile_params {
    int64_t repeats[QD_MAX_DIMS]; /* set by infer */
};

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    node->params = qd_arena_alloc(&graph->arena, sizeof(struct tile_params));
    return node->params ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct tile_params *params = node->params;
    const struct qd_value *in = qd_node_input(graph, node, 0);
    struct qd_shape out = in->shape;
    int n, n_dims = out.n_dims;
    enum qd_status status = qd_op_const_ints(graph, node, 1, QD_MAX_DIMS, params->repeats, &n, err);

    if (status != QD_OK)
        return status;
    if (n != out.n_dims)
        return qd_error_set(err, QD_INVALID, "repeats: expected %d values, found %d", out.n_dims, n);
    for (int d = 0; d < n; d++) {
        if (params->repeats[d] < 0 || params->repeats[d] > QD_MAX_ELEMENTS)
            return qd_error_set(err, QD_INVALID, "repeats: expected 0 or more, found %lld",
                                (long long)params->repeats[d]);
        n_dims += params->repeats[d] != 1;
        out.dims[d] *= params->repeats[d];
    }
    if (n_dims > QD_MAX_DIMS)
        return qd_error_set(err, QD_UNSUPPORTED,
                            "repeats: %d dimensions repeat in a tensor of %d: more than %d together", n_dims - n, n,
                            QD_MAX_DIMS);
    return qd_op_set_output(graph, node, 0, in->dtype, &out, err);
}

/* A dimension that repeats is two: the repetition, which stands still in the input, and the dimension. */
static void move_of(const struct qd_node *node, int i, const struct qd_move_side *in, const struct qd_move_side *out,
                    struct qd_move *ret)
{
    const struct tile_params *params = node->params;

    (void)i;
    memset(ret, 0, sizeof(*ret));
    for (int d = 0; d < in->shape->n_dims; d++) {
        if (params->repeats[d] != 1) {
            ret->dims[ret->n_dims] = params->repeats[d];
            ret->out_strides[ret->n_dims++] = out->strides[d] * in->shape->dims[d];
        }
        ret->dims[ret->n_dims] = in->shape->dims[d];
        ret->in_strides[ret->n_dims] = in->strides[d];
        ret->out_strides[ret->n_dims++] = out->strides[d];
    }
}

QD_ONE_MOVE(tile_, move_of)

const struct qd_op qd_op_tile = {
    .name = "Tile",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 2,
    .limits = "constant repeats",
    .n_outputs = 1,
    .flags = QD_OP_SAME_SCALE | QD_OP_MOVES | QD_OP_ANY_ORDER,
    .parse = parse,
    .infer = infer,
    QD_ONE_MOVE_FIELDS(tile_),
};

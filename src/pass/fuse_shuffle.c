#include "op/channel_shuffle.h"
#include "op/transpose.h"
#include "pass/internal.h"

/* The node of this operator that makes the value, if the value has one reader only. */
static struct qd_node *maker(struct qd_graph *graph, int value, const struct qd_op *op)
{
    int producer = graph->values[value].producer;

    if (producer < 0 || graph->nodes[producer].op != op || !qd_graph_only_user(graph, value))
        return NULL;
    return &graph->nodes[producer];
}

/* [1,g,c,h,w] with g and c exchanged. */
static bool swaps_groups(const struct qd_graph *graph, const struct qd_node *transpose)
{
    const int *perm = ((const struct qd_transpose_params *)transpose->params)->perm;

    if (graph->values[transpose->inputs[0]].shape.n_dims != 5)
        return false;
    return perm[0] == 0 && perm[1] == 2 && perm[2] == 1 && perm[3] == 3 && perm[4] == 4 &&
           graph->values[transpose->inputs[0]].shape.dims[0] == 1;
}

static enum qd_status fuse(struct qd_graph *graph, struct qd_node *node, bool *keep, struct qd_error *err)
{
    struct qd_node *transpose = node->op == &qd_op_reshape ? maker(graph, node->inputs[0], &qd_op_transpose) : NULL;
    struct qd_node *reshape = transpose ? maker(graph, transpose->inputs[0], &qd_op_reshape) : NULL;
    const struct qd_shape *in, *grouped;
    struct qd_channel_shuffle_params *params;

    if (!reshape || !swaps_groups(graph, transpose) ||
        qd_pass_loses_rounding(graph, node->inputs[0], reshape->inputs[0]) ||
        qd_pass_loses_rounding(graph, transpose->inputs[0], reshape->inputs[0]))
        return QD_OK;
    in = &graph->values[reshape->inputs[0]].shape;
    grouped = &graph->values[reshape->outputs[0]].shape;
    if (in->n_dims != 4 || !qd_shape_equal(in, &graph->values[node->outputs[0]].shape) ||
        in->dims[1] != grouped->dims[1] * grouped->dims[2] || in->dims[2] != grouped->dims[3] ||
        graph->values[reshape->inputs[0]].dtype != QD_F32)
        return QD_OK;
    params = qd_arena_alloc(&graph->arena, sizeof(*params));
    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");
    params->groups = (int)grouped->dims[1];
    qd_pass_become(node, &qd_op_channel_shuffle, reshape->inputs[0], params);
    keep[reshape - graph->nodes] = false;
    keep[transpose - graph->nodes] = false;
    return QD_OK;
}

/* Reshape, Transpose, Reshape that interleave groups of channels become one ChannelShuffle. */
enum qd_status qd_pass_fuse_shuffle(struct qd_graph *graph, struct qd_error *err)
{
    bool *keep = qd_alloc_array((size_t)graph->n_nodes + 1, sizeof(bool));
    enum qd_status status = keep ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");

    for (int n = 0; n < graph->n_nodes && status == QD_OK; n++) {
        keep[n] = true;
        status = fuse(graph, &graph->nodes[n], keep, err);
    }
    if (status == QD_OK)
        qd_graph_keep_nodes(graph, keep);
    qd_free(keep);
    return status;
}

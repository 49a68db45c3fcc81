/*
 * ShuffleNetV2's shuffle as some write it: x[1,c,h,w] as [c/g,g,h*w], the first two exchanged, as [g,1,c/g,h,w], and
 * each of the g taken by a Gather: that is every g-th channel of x, a Slice, which moves bytes where a Gather has none.
 */
#include "op/slice.h"
#include "op/transpose.h"
#include "pass/internal.h"

/* The node of this operator that makes the value, or NULL. */
static const struct qd_node *maker(const struct qd_graph *graph, int value, const struct qd_op *op)
{
    int producer = graph->values[value].producer;

    return producer >= 0 && graph->nodes[producer].op == op ? &graph->nodes[producer] : NULL;
}

/* The one index that a Gather over the first dimension takes; -1 where it is another Gather. */
static int64_t index_of(const struct qd_graph *graph, const struct qd_node *gather)
{
    const struct qd_value *in = qd_node_input(graph, gather, 0), *at = qd_node_input(graph, gather, 1);
    int64_t axis, index;

    if (qd_node_attr_int(gather, "axis", 0, &axis, NULL) != QD_OK || (axis != 0 && axis != -in->shape.n_dims) ||
        !at->data || at->shape.n_dims != 0 || (at->dtype != QD_I64 && at->dtype != QD_I32))
        return -1;
    index = at->dtype == QD_I64 ? *(const int64_t *)at->data : *(const int32_t *)at->data;
    return index < 0 ? index + in->shape.dims[0] : index;
}

static enum qd_status fuse(struct qd_graph *graph, struct qd_node *gather, struct qd_error *err)
{
    const struct qd_node *outer, *transpose, *inner;
    const struct qd_shape *x, *three, *five;
    struct qd_slice_params *params;
    int64_t index = index_of(graph, gather), groups;
    const int *perm;

    if (index < 0 || !(outer = maker(graph, gather->inputs[0], &qd_op_reshape)) ||
        !(transpose = maker(graph, outer->inputs[0], &qd_op_transpose)) ||
        !(inner = maker(graph, transpose->inputs[0], &qd_op_reshape)))
        return QD_OK;
    x = &graph->values[inner->inputs[0]].shape;
    three = &graph->values[inner->outputs[0]].shape;
    five = &graph->values[outer->outputs[0]].shape;
    perm = ((const struct qd_transpose_params *)transpose->params)->perm;
    if (x->n_dims != 4 || x->dims[0] != 1 || three->n_dims != 3 || five->n_dims != 5 ||
        graph->values[inner->inputs[0]].dtype != QD_F32 || perm[0] != 1 || perm[1] != 0 || perm[2] != 2)
        return QD_OK;
    groups = three->dims[1];
    if (three->dims[0] * groups != x->dims[1] || three->dims[2] != x->dims[2] * x->dims[3] || five->dims[0] != groups ||
        five->dims[1] != 1 || five->dims[2] != three->dims[0] || five->dims[3] != x->dims[2] ||
        five->dims[4] != x->dims[3])
        return QD_OK;
    params = qd_arena_alloc(&graph->arena, sizeof(*params));
    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");
    for (int d = 0; d < QD_MAX_DIMS; d++)
        params->step[d] = 1;
    params->start[1] = index;
    params->step[1] = groups;
    qd_pass_become(gather, &qd_op_slice, inner->inputs[0], params);
    return QD_OK;
}

enum qd_status qd_pass_fuse_deinterleave(struct qd_graph *graph, struct qd_error *err)
{
    enum qd_status status = QD_OK;

    for (int n = 0; n < graph->n_nodes && status == QD_OK; n++)
        if (graph->nodes[n].op == &qd_op_gather)
            status = fuse(graph, &graph->nodes[n], err);
    return status;
}

/*
 * Transposes that meet: of two the second reads what the first reads, with the permutation of both, and none at all
 * where that is no permutation. Exporters that keep channels last (tf2onnx) leave them around every convolution.
 */
#include "op/transpose.h"
#include "pass/internal.h"

static enum qd_status merge(struct qd_graph *graph, struct qd_node *second, bool *ret_dropped, struct qd_error *err)
{
    int producer = graph->values[second->inputs[0]].producer;
    const struct qd_node *first = producer >= 0 ? &graph->nodes[producer] : NULL;
    const struct qd_transpose_params *a, *b = second->params;
    struct qd_transpose_params *both;
    struct qd_attr *attr;
    int64_t *perm;
    int n_dims;
    bool nothing = true;

    if (!first || first->op != &qd_op_transpose || qd_pass_loses_rounding(graph, second->inputs[0], first->inputs[0]) ||
        qd_pass_loses_rounding(graph, second->outputs[0], first->inputs[0]))
        return QD_OK;
    a = first->params;
    n_dims = graph->values[first->inputs[0]].shape.n_dims;
    both = qd_arena_alloc(&graph->arena, sizeof(*both));
    attr = qd_arena_alloc(&graph->arena, sizeof(*attr));
    perm = qd_arena_array(&graph->arena, QD_MAX_DIMS, sizeof(*perm));
    if (!both || !attr || !perm)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");
    for (int d = 0; d < n_dims; d++) {
        both->perm[d] = a->perm[b->perm[d]];
        perm[d] = both->perm[d];
        nothing = nothing && both->perm[d] == d;
    }
    if (!nothing || (graph->values[first->inputs[0]].producer < 0 && qd_graph_is_output(graph, second->outputs[0]))) {
        *attr = (struct qd_attr){.name = "perm", .kind = QD_ATTR_INTS, .ints = perm, .n = n_dims};
        second->attrs = attr; /* export writes the attribute */
        second->n_attrs = 1;
        second->params = both;
        second->inputs[0] = first->inputs[0];
        return QD_OK;
    }
    qd_graph_replace_uses(graph, second->outputs[0], first->inputs[0]);
    *ret_dropped = true;
    return QD_OK;
}

/* What nobody reads any more must not stand among the readers that other passes look at. */
static void drop_unread(struct qd_graph *graph, bool *keep)
{
    for (int n = graph->n_nodes - 1; n >= 0; n--)
        keep[n] = graph->nodes[n].op != &qd_op_transpose || qd_graph_n_uses(graph, graph->nodes[n].outputs[0]);
    qd_graph_keep_nodes(graph, keep);
}

enum qd_status qd_pass_cancel_transposes(struct qd_graph *graph, struct qd_error *err)
{
    bool *keep = qd_alloc_array((size_t)graph->n_nodes + 1, sizeof(bool));
    enum qd_status status = keep ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");

    for (int n = 0; n < graph->n_nodes && status == QD_OK; n++) {
        bool dropped = false;

        if (graph->nodes[n].op == &qd_op_transpose)
            status = merge(graph, &graph->nodes[n], &dropped, err);
        keep[n] = !dropped;
    }
    if (status == QD_OK) {
        qd_graph_keep_nodes(graph, keep);
        drop_unread(graph, keep);
    }
    qd_free(keep);
    return status;
}

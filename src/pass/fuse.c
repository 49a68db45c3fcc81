#include "pass/internal.h"

/* The node that makes the value, if it can take a residual: nobody else reads it, nothing is fused behind it yet. */
static struct qd_node *can_take_residual(struct qd_graph *graph, const struct qd_node *add, int value)
{
    int producer = graph->values[value].producer;
    struct qd_node *node = producer >= 0 ? &graph->nodes[producer] : NULL;

    if (!node || !(node->op->flags & QD_OP_RESIDUAL) || node->residual >= 0 || node->act.kind != QD_ACT_NONE)
        return NULL;
    /* The model rounds the sum's operand. */
    if (graph->values[value].given)
        return NULL;
    return qd_graph_only_user(graph, value) == add ? node : NULL;
}

/* Conv then Add of an activation of the same shape: the convolution adds it before it rounds. */
enum qd_status qd_pass_fuse_residual(struct qd_graph *graph, struct qd_error *err)
{
    bool *keep = qd_alloc_array((size_t)graph->n_nodes + 1, sizeof(bool));
    enum qd_status status = keep ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");

    for (int n = 0; n < graph->n_nodes && status == QD_OK; n++) {
        struct qd_node *add = &graph->nodes[n], *first, *second, *taker;
        int other;

        keep[n] = true;
        if (add->op != &qd_op_add || add->inputs[0] == add->inputs[1] || graph->values[add->inputs[0]].data ||
            graph->values[add->inputs[1]].data)
            continue;
        if (!qd_shape_equal(&graph->values[add->inputs[0]].shape, &graph->values[add->inputs[1]].shape))
            continue;
        first = can_take_residual(graph, add, add->inputs[0]);
        second = can_take_residual(graph, add, add->inputs[1]);
        taker = !first ? second : !second ? first : first > second ? first : second;
        if (!taker)
            continue;
        other = taker == first ? add->inputs[1] : add->inputs[0];
        status = qd_graph_set_input(graph, taker, taker->op->max_inputs, other, err);
        taker->residual = taker->op->max_inputs;
        taker->outputs[0] = add->outputs[0];
        graph->values[add->outputs[0]].producer = (int)(taker - graph->nodes);
        keep[n] = false;
    }
    if (status == QD_OK)
        qd_graph_keep_nodes(graph, keep);
    qd_free(keep);
    return status;
}

/*
 * Whether the activation may go into the node in front of it although the model rounds between them: a clip of levels
 * is a clip before they are rounded, but the bound has to be a level where nothing rounds it.
 */
static bool absorbs_rounding(struct qd_graph *graph, int between, int after, const struct qd_activation *act)
{
    struct qd_value *a = &graph->values[between], *b = &graph->values[after];
    float top = (float)(255 - a->q.zero_point) * a->q.scale;

    if (!a->given)
        return true;
    if (act->kind != QD_ACT_CLIP)
        return false;
    if (b->given)
        return !qd_pass_loses_rounding(graph, between, after);
    if ((act->min != 0 && act->min > -(float)a->q.zero_point * a->q.scale) || act->max < top)
        return false;
    b->q = a->q;
    b->given = true;
    return true;
}

/* An activation behind a node that can absorb it. */
enum qd_status qd_pass_fuse_activation(struct qd_graph *graph, struct qd_error *err)
{
    bool *keep = qd_alloc_array((size_t)graph->n_nodes + 1, sizeof(bool));

    if (!keep)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");
    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];
        struct qd_activation act = {0};
        struct qd_node *maker;
        int producer;

        keep[n] = true;
        if (!node->op->as_activation || !node->op->as_activation(graph, node, &act))
            continue;
        producer = graph->values[node->inputs[0]].producer;
        maker = producer >= 0 ? &graph->nodes[producer] : NULL;
        if (!maker || maker->act.kind != QD_ACT_NONE || !maker->op->fuses || !maker->op->fuses(maker, &act))
            continue;
        if (qd_graph_only_user(graph, node->inputs[0]) != node || maker->outputs[0] != node->inputs[0] ||
            !absorbs_rounding(graph, node->inputs[0], node->outputs[0], &act))
            continue;
        maker->act = act;
        maker->outputs[0] = node->outputs[0];
        graph->values[node->outputs[0]].producer = producer;
        keep[n] = false;
    }
    qd_graph_keep_nodes(graph, keep);
    qd_free(keep);
    return QD_OK;
}

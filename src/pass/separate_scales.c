/*
 * Operators that copy bytes tie all that they read and make to one scale. Where a Concat joins what such operators
 * bring from elsewhere, or what others read too, the tie reaches from stage to stage of a network (a ShuffleNet's
 * identity halves, a detector's neck). A quantd.Requantize there is where a calibration may cut it. Where it does not,
 * both ends have the same scale, and the plan makes the node a name.
 */
#include "pass/internal.h"

/* One that runs in float whatever its scales are ties none. */
static bool is_join(const struct qd_graph *graph, const struct qd_node *node)
{
    int n = 0;

    for (int i = 0; i < node->n_inputs; i++)
        n += qd_pass_is_float_activation(graph, node->inputs[i]);
    return n > 1 && qd_node_shares_scale(node) && node->op->supports_q8 && node->op->supports_q8(graph, node);
}

/* By value: how many inputs of joins it is. */
static void count_joins(const struct qd_graph *graph, int *n_joins)
{
    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];

        if (!is_join(graph, node))
            continue;
        for (int i = 0; i < node->n_inputs; i++)
            if (node->inputs[i] != QD_NO_VALUE)
                n_joins[node->inputs[i]]++;
    }
}

/*
 * What is made for this join alone takes its scale at no cost. What several joins read is written once, in the place of
 * all of them (DenseNet), which it could not be at several scales.
 */
static bool is_worth_cutting(const struct qd_graph *graph, int value, const int *n_joins)
{
    int producer;

    if (!qd_pass_is_float_activation(graph, value) || n_joins[value] != 1)
        return false;
    producer = graph->values[value].producer;
    return producer >= 0 && (qd_node_shares_scale(&graph->nodes[producer]) || qd_graph_n_uses(graph, value) > 1);
}

/* Scales that the model itself brings are not ours to cut; import_qdq has put its own nodes in. */
enum qd_status qd_pass_separate_scales(struct qd_graph *graph, struct qd_error *err)
{
    int n_nodes = graph->n_nodes, out, *n_joins;
    enum qd_status status = QD_OK;

    if (qd_graph_has_given_scales(graph))
        return QD_OK;
    n_joins = qd_alloc_array((size_t)graph->n_values + 1, sizeof(*n_joins));
    if (!n_joins)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");
    count_joins(graph, n_joins);
    for (int n = 0; n < n_nodes && status == QD_OK; n++) {
        if (!is_join(graph, &graph->nodes[n]))
            continue;
        for (int i = 0; i < graph->nodes[n].n_inputs && status == QD_OK; i++)
            if (is_worth_cutting(graph, graph->nodes[n].inputs[i], n_joins))
                status = qd_pass_insert_requantize(graph, n, i, "rescaled", &out, err);
    }
    qd_free(n_joins);
    return status;
}

#include "pass/internal.h"

/* Whether output 0 is input 0: copies that change no shape, a Cast to its own type, the variadic operators of one
 * operand, a Pad by nothing. */
static bool is_identity(const struct qd_node *node, const struct qd_value *in, const struct qd_value *out)
{
    if (!in || in->data || !qd_shape_equal(&in->shape, &out->shape))
        return false;
    return (node->op->flags & QD_OP_COPY) || node->op == &qd_op_pad ||
           (node->op == &qd_op_cast && in->dtype == out->dtype) || (node->op->max_inputs < 0 && node->n_inputs == 1);
}

/* Identity, Dropout and kin: readers read their input instead. */
enum qd_status qd_pass_drop_identity(struct qd_graph *graph, struct qd_error *err)
{
    bool *keep = qd_alloc_array((size_t)graph->n_nodes + 1, sizeof(bool));

    if (!keep)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");
    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];
        const struct qd_value *in = qd_node_input(graph, node, 0), *out = qd_node_output(graph, node, 0);

        keep[n] = true;
        if (!is_identity(node, in, out))
            continue;
        /* A second output (Dropout's mask) that somebody reads keeps the node. */
        if (node->n_outputs > 1 && node->outputs[1] != QD_NO_VALUE && qd_graph_n_uses(graph, node->outputs[1]))
            continue;
        if (qd_pass_loses_rounding(graph, node->outputs[0], node->inputs[0]))
            continue;
        if (in->producer < 0 && qd_graph_is_output(graph, node->outputs[0]))
            continue;
        qd_graph_replace_uses(graph, node->outputs[0], node->inputs[0]);
        keep[n] = false;
    }
    qd_graph_keep_nodes(graph, keep);
    qd_free(keep);
    return QD_OK;
}

enum qd_status qd_pass_drop_dead(struct qd_graph *graph, struct qd_error *err)
{
    bool *keep = qd_alloc_array((size_t)graph->n_nodes + 1, sizeof(bool));
    bool *read = qd_alloc_array((size_t)graph->n_values + 1, sizeof(bool));

    if (!keep || !read) {
        qd_free(keep);
        qd_free(read);
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");
    }
    for (int i = 0; i < graph->n_outputs; i++)
        read[graph->outputs[i]] = true;
    for (int n = graph->n_nodes - 1; n >= 0; n--) {
        const struct qd_node *node = &graph->nodes[n];

        for (int i = 0; i < node->n_outputs; i++)
            keep[n] |= node->outputs[i] != QD_NO_VALUE && read[node->outputs[i]];
        for (int i = 0; i < node->n_inputs && keep[n]; i++)
            if (node->inputs[i] != QD_NO_VALUE)
                read[node->inputs[i]] = true;
    }
    qd_graph_keep_nodes(graph, keep);
    qd_free(keep);
    qd_free(read);
    return QD_OK;
}

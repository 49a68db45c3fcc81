/*
 * Copies between the last layers and the graph's outputs, which are floats, run in float: a detector's last Concat puts
 * boxes of hundreds of pixels beside scores of 0 to 1, and one scale for all of them would leave nothing of the scores.
 * The layers in front of them give floats anyway.
 */
#include "pass/internal.h"

enum qd_status qd_pass_keep_tail_float(struct qd_graph *graph, struct qd_error *err)
{
    bool *read_as_bytes = qd_alloc_array((size_t)graph->n_values + 1, sizeof(bool));

    if (!read_as_bytes)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");
    for (int n = graph->n_nodes - 1; n >= 0; n--) {
        struct qd_node *node = &graph->nodes[n];
        bool tail = (node->op->flags & QD_OP_MOVES) && node->act.kind == QD_ACT_NONE;

        for (int i = 0; i < node->n_outputs && tail; i++)
            tail = node->outputs[i] == QD_NO_VALUE || !read_as_bytes[node->outputs[i]];
        if (tail && node->precision == QD_PRECISION_Q8) {
            node->precision = QD_PRECISION_F32;
            node->why_f32 = "only copies towards the outputs, which are floats";
        }
        for (int i = 0; i < node->n_inputs && !tail; i++)
            if (node->inputs[i] != QD_NO_VALUE)
                read_as_bytes[node->inputs[i]] = true;
    }
    qd_free(read_as_bytes);
    return QD_OK;
}

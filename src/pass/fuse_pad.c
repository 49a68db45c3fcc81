#include "op/conv.h"
#include "op/pad.h"
#include "pass/internal.h"

/* A Pad of zeros on height and width only. */
static bool is_zero_pad(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_pad_params *pad = node->params;

    if (node->op != &qd_op_pad || pad->mode != QD_PAD_CONSTANT || pad->value != 0)
        return false;
    if (graph->values[node->inputs[0]].shape.n_dims != 4)
        return false;
    for (int i = 0; i < 4; i++)
        if (pad->begin[i] < 0 || pad->end[i] < 0 || (i < 2 && (pad->begin[i] || pad->end[i])))
            return false;
    return true;
}

/* Zeros in front of a convolution become the convolution's own padding. */
enum qd_status qd_pass_fuse_pad(struct qd_graph *graph, struct qd_error *err)
{
    bool *keep = qd_alloc_array((size_t)graph->n_nodes + 1, sizeof(bool));

    if (!keep)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");
    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];
        const struct qd_pad_params *pad = node->params;
        struct qd_conv_attrs *conv;
        struct qd_node *user;

        keep[n] = true;
        if (!is_zero_pad(graph, node))
            continue;
        user = qd_graph_only_user(graph, node->outputs[0]);
        if (!user || user->op != &qd_op_conv || user->inputs[0] != node->outputs[0] ||
            qd_pass_loses_rounding(graph, node->outputs[0], node->inputs[0]))
            continue;
        conv = user->params;
        for (int i = 0; i < 2; i++) {
            conv->window.pad_begin[i] += pad->begin[2 + i];
            conv->window.pad_end[i] += pad->end[2 + i];
        }
        /* auto_pad has been resolved to these pads for the padded picture. */
        conv->window.auto_pad = QD_PAD_NOTSET;
        user->inputs[0] = node->inputs[0];
        keep[n] = false;
    }
    qd_graph_keep_nodes(graph, keep);
    qd_free(keep);
    return QD_OK;
}

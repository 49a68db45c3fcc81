#include <math.h>

#include "op/batch_normalization.h"
#include "op/conv.h"
#include "op/conv_transpose.h"
#include "op/elementwise.h"
#include "op/ops.h"
#include "pass/internal.h"

static bool all_constant(const struct qd_graph *graph, const struct qd_node *node, int first)
{
    for (int i = first; i < node->n_inputs; i++) {
        const struct qd_value *value = qd_node_input(graph, node, i);

        if (value && (!value->data || value->dtype != QD_F32))
            return false;
    }
    return true;
}

static bool is_elementwise(const struct qd_op *op)
{
    return op == &qd_op_add || op == &qd_op_sub || op == &qd_op_mul || op == &qd_op_div;
}

/* A batch normalization, or an operation with one constant for all or one per channel, that clamps nothing. */
static bool is_line(const struct qd_graph *graph, const struct qd_node *node)
{
    if (node->act.kind != QD_ACT_NONE)
        return false;
    if (node->op == &qd_op_batch_normalization)
        return all_constant(graph, node, 1);
    return is_elementwise(node->op) && qd_elementwise_is_line(graph, node);
}

/* The convolution, transposed or not, in front of a line, when nobody else reads it. */
static struct qd_node *conv_before(struct qd_graph *graph, const struct qd_node *line)
{
    const struct qd_value *in = qd_node_input(graph, line, 0);
    struct qd_node *conv = in && in->producer >= 0 ? &graph->nodes[in->producer] : NULL;

    if (!conv || (conv->op != &qd_op_conv && conv->op != &qd_op_conv_transpose) || in->given || conv->residual >= 0 ||
        conv->act.kind != QD_ACT_NONE)
        return NULL;
    if (!all_constant(graph, conv, 1))
        return NULL;
    return qd_graph_only_user(graph, line->inputs[0]) == line ? conv : NULL;
}

/* What the node makes of x in channel c: x * mult + add, in double. */
static void line_of(const struct qd_graph *graph, const struct qd_node *node, int64_t c, double *ret_mult,
                    double *ret_add)
{
    const struct qd_value *second = qd_node_input(graph, node, 1);
    const struct qd_batch_norm_params *params = node->params;
    double of[5];

    if (is_elementwise(node->op)) {
        ((const struct qd_elementwise *)node->op->functions)
            ->line((double)((const float *)second->data)[qd_shape_count(&second->shape) == 1 ? 0 : c], ret_mult,
                   ret_add);
        return;
    }
    for (int i = 1; i < 5; i++)
        of[i] = (double)((const float *)qd_node_input(graph, node, i)->data)[c];
    *ret_mult = of[1] / sqrt(of[4] + (double)params->epsilon);
    *ret_add = of[2] - of[3] * *ret_mult;
}

/* The output channel of weight i: [n][c][taps], transposed [c][n / group][taps]. */
static int64_t channel_of(const struct qd_node *conv, const struct qd_shape *w, int64_t i)
{
    int64_t block = qd_shape_count(w) / w->dims[0], taps = block / w->dims[1], c_group;

    if (conv->op == &qd_op_conv)
        return i / block;
    c_group = w->dims[0] / ((const struct qd_conv_transpose_attrs *)conv->params)->group;
    return i / block / c_group * w->dims[1] + i / taps % w->dims[1];
}

static enum qd_status fold(struct qd_graph *graph, struct qd_node *conv, const struct qd_node *line,
                           struct qd_error *err)
{
    const struct qd_shape shape = graph->values[conv->inputs[1]].shape;
    int64_t n = graph->values[conv->outputs[0]].shape.dims[1];
    float *weights, *bias;
    enum qd_status status = qd_pass_own_weights(graph, conv, &weights, &bias, err);

    if (status != QD_OK)
        return status;
    for (int64_t i = 0; i < qd_shape_count(&shape); i++) {
        double mult, add;

        line_of(graph, line, channel_of(conv, &shape, i), &mult, &add);
        weights[i] = (float)((double)weights[i] * mult);
    }
    for (int64_t c = 0; c < n; c++) {
        double mult, add;

        line_of(graph, line, c, &mult, &add);
        bias[c] = (float)((double)bias[c] * mult + add);
    }
    return QD_OK;
}

/* In the order of the nodes, so that several lines behind one convolution go into it one after the other. */
enum qd_status qd_pass_fold_batch_norm(struct qd_graph *graph, struct qd_error *err)
{
    bool *keep = qd_alloc_array((size_t)graph->n_nodes + 1, sizeof(bool));
    enum qd_status status = keep ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");

    for (int n = 0; n < graph->n_nodes && status == QD_OK; n++) {
        struct qd_node *line = &graph->nodes[n], *conv;

        keep[n] = true;
        conv = is_line(graph, line) ? conv_before(graph, line) : NULL;
        if (!conv)
            continue;
        status = fold(graph, conv, line, err);
        if (graph->values[line->outputs[0]].given) { /* rounded as what takes its place */
            graph->values[line->inputs[0]].q = graph->values[line->outputs[0]].q;
            graph->values[line->inputs[0]].given = true;
        }
        qd_graph_replace_uses(graph, line->outputs[0], line->inputs[0]);
        /* It is no reader any more, or the next line would find two. */
        line->inputs[0] = QD_NO_VALUE;
        keep[n] = false;
    }
    if (status == QD_OK)
        qd_graph_keep_nodes(graph, keep);
    qd_free(keep);
    return status;
}

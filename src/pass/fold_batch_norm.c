#include <math.h>

#include "op/batch_normalization.h"
#include "op/conv.h"
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

/* The convolution in front of a batch normalization, when nobody else reads it. */
static struct qd_node *conv_before(struct qd_graph *graph, const struct qd_node *norm)
{
    const struct qd_value *in = qd_node_input(graph, norm, 0);
    struct qd_node *conv = in && in->producer >= 0 ? &graph->nodes[in->producer] : NULL;

    if (!conv || conv->op != &qd_op_conv || conv->residual >= 0 || conv->act.kind != QD_ACT_NONE)
        return NULL;
    if (!all_constant(graph, conv, 1) || !all_constant(graph, norm, 1))
        return NULL;
    return qd_graph_only_user(graph, norm->inputs[0]) == norm ? conv : NULL;
}

/* y = (conv(x) - mean) * gamma / sqrt(var + eps) + beta, in double. */
static enum qd_status fold(struct qd_graph *graph, struct qd_node *conv, const struct qd_node *norm,
                           struct qd_error *err)
{
    const float *gamma = graph->values[norm->inputs[1]].data, *beta = graph->values[norm->inputs[2]].data;
    const float *mean = graph->values[norm->inputs[3]].data, *var = graph->values[norm->inputs[4]].data;
    const struct qd_batch_norm_params *params = norm->params;
    const struct qd_shape *shape = &graph->values[conv->inputs[1]].shape;
    int64_t n = shape->dims[0], k = n ? qd_shape_count(shape) / n : 0;
    float *weights, *bias;
    enum qd_status status = qd_pass_own_weights(graph, conv, &weights, &bias, err);

    if (status != QD_OK)
        return status;
    for (int64_t c = 0; c < n; c++) {
        double factor = (double)gamma[c] / sqrt((double)var[c] + (double)params->epsilon);

        for (int64_t i = 0; i < k; i++)
            weights[c * k + i] = (float)((double)weights[c * k + i] * factor);
        bias[c] = (float)(((double)bias[c] - (double)mean[c]) * factor + (double)beta[c]);
    }
    return QD_OK;
}

enum qd_status qd_pass_fold_batch_norm(struct qd_graph *graph, struct qd_error *err)
{
    bool *keep = qd_alloc_array((size_t)graph->n_nodes + 1, sizeof(bool));
    enum qd_status status = keep ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");

    for (int n = 0; n < graph->n_nodes && status == QD_OK; n++) {
        struct qd_node *norm = &graph->nodes[n], *conv;

        keep[n] = true;
        conv = norm->op == &qd_op_batch_normalization ? conv_before(graph, norm) : NULL;
        if (!conv)
            continue;
        status = fold(graph, conv, norm, err);
        qd_graph_replace_uses(graph, norm->outputs[0], norm->inputs[0]);
        keep[n] = false;
    }
    if (status == QD_OK)
        qd_graph_keep_nodes(graph, keep);
    qd_free(keep);
    return status;
}

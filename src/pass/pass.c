#include "pass/pass.h"

#include <stdio.h>

#include "pass/internal.h"

/* In the order in which they run. Residuals before activations, so that Conv, Add, Relu becomes one node. */
static const struct qd_pass qd_passes[] = {
    {"import_qdq", qd_pass_import_qdq, true},
    {"drop_identity", qd_pass_drop_identity, true},
    {"cancel_transposes", qd_pass_cancel_transposes, true},
    {"fold_batch_norm", qd_pass_fold_batch_norm, true},
    {"expand_conv_transpose", qd_pass_expand_conv_transpose, true},
    {"fuse_pad", qd_pass_fuse_pad, true},
    {"fold_preprocessing", qd_pass_fold_preprocessing, false},
    {"split_multiplier", qd_pass_split_multiplier, false},
    {"fuse_deinterleave", qd_pass_fuse_deinterleave, false},
    {"fuse_shuffle", qd_pass_fuse_shuffle, false},
    {"name_normalization", qd_pass_name_normalization, false},
    {"name_activations", qd_pass_name_activations, false},
    {"fuse_flatten", qd_pass_fuse_flatten, false},
    {"fuse_linear", qd_pass_fuse_linear, false},
    {"fuse_residual", qd_pass_fuse_residual, false},
    {"fuse_activation", qd_pass_fuse_activation, false},
    {"drop_dead", qd_pass_drop_dead, true},
    {"keep_tail_float", qd_pass_keep_tail_float, true},
    {"separate_scales", qd_pass_separate_scales, true},
    {"find_rows", qd_pass_find_rows, true},
};

static enum qd_status run_rows(struct qd_graph *graph, bool only_standard, struct qd_error *err)
{
    for (size_t i = 0; i < QD_ARRAY_SIZE(qd_passes); i++) {
        enum qd_status status;

        if (only_standard && !qd_passes[i].standard)
            continue;
        status = qd_passes[i].run(graph, err);
        if (status == QD_OK)
            status = qd_graph_sort(graph, err);
        if (status == QD_OK)
            status = qd_graph_verify(graph, err);
        if (status != QD_OK)
            return qd_error_context(err, status, "pass %s", qd_passes[i].name);
    }
    return QD_OK;
}

enum qd_status qd_passes_run(struct qd_graph *graph, struct qd_error *err)
{
    return run_rows(graph, false, err);
}

enum qd_status qd_passes_run_standard(struct qd_graph *graph, struct qd_error *err)
{
    return run_rows(graph, true, err);
}

bool qd_pass_loses_rounding(const struct qd_graph *graph, int gone, int instead)
{
    const struct qd_value *a = &graph->values[gone], *b = &graph->values[instead];

    return a->given && !(b->given && a->q.scale == b->q.scale && a->q.zero_point == b->q.zero_point);
}

struct qd_node *qd_pass_maker(struct qd_graph *graph, int value, const struct qd_op *op)
{
    int producer = graph->values[value].producer;

    if (producer < 0 || graph->values[value].given || graph->nodes[producer].op != op ||
        graph->nodes[producer].act.kind != QD_ACT_NONE)
        return NULL;
    return qd_graph_only_user(graph, value) ? &graph->nodes[producer] : NULL;
}

bool qd_pass_scalar(const struct qd_graph *graph, const struct qd_node *node, float *ret)
{
    const struct qd_value *a = qd_node_input(graph, node, 0), *b = qd_node_input(graph, node, 1);

    if (a->data || !b->data || b->dtype != QD_F32 || qd_shape_count(&b->shape) != 1 ||
        b->shape.n_dims > a->shape.n_dims)
        return false;
    *ret = *(const float *)b->data;
    return true;
}

bool qd_pass_is_float_activation(const struct qd_graph *graph, int value)
{
    return value != QD_NO_VALUE && !graph->values[value].data && graph->values[value].dtype == QD_F32;
}

enum qd_status qd_pass_insert_requantize(struct qd_graph *graph, int n, int i, const char *suffix, int *ret_out,
                                         struct qd_error *err)
{
    int in = graph->nodes[n].inputs[i], out;
    char base[256], name[272];
    struct qd_node *node;
    enum qd_status status;

    snprintf(base, sizeof(base), "%.240s.%s", graph->values[in].name, suffix);
    status = qd_graph_add_value(graph, qd_graph_new_name(graph, base, name, sizeof(name)), &out, err);
    if (status == QD_OK)
        status = qd_graph_add_node(graph, name, qd_op_requantize.name, &qd_op_requantize, &in, 1, &out, 1, &node, err);
    if (status == QD_OK)
        status = qd_op_requantize.infer(graph, node, err);
    if (status != QD_OK)
        return status;
    graph->nodes[n].inputs[i] = out;
    *ret_out = out;
    return QD_OK;
}

void qd_pass_become(struct qd_node *node, const struct qd_op *op, int input, void *params)
{
    node->op = op;
    node->op_name = op->name;
    node->inputs[0] = input;
    node->n_inputs = 1;
    node->attrs = NULL;
    node->n_attrs = 0;
    node->params = params;
}

enum qd_status qd_pass_own_weights(struct qd_graph *graph, struct qd_node *node, float **ret_weights, float **ret_bias,
                                   struct qd_error *err)
{
    struct qd_value old = graph->values[node->inputs[1]];
    const struct qd_value *old_bias = qd_node_input(graph, node, 2);
    struct qd_shape bias_shape = {.n_dims = 1, .dims = {graph->values[node->outputs[0]].shape.dims[1]}};
    const float *bias_data = old_bias ? old_bias->data : NULL;
    char name[256], base[128];
    void *weights, *bias;
    enum qd_status status;
    int index;

    node->layer_weights = NULL; /* they were the old ones' integers */
    if (qd_graph_n_uses(graph, node->inputs[1]) == 1) {
        /* The graph's own memory, that nobody else reads: no second copy of what may be tens of megabytes. */
        weights = (void *)(uintptr_t)old.data;
    } else {
        snprintf(base, sizeof(base), "%.100s.weights", node->name);
        status = qd_graph_add_constant(graph, qd_graph_new_name(graph, base, name, sizeof(name)), QD_F32, &old.shape,
                                       old.data, &index, &weights, err);
        if (status != QD_OK)
            return status;
        node->inputs[1] = index;
    }
    snprintf(base, sizeof(base), "%.100s.bias", node->name);
    status = qd_graph_add_constant(graph, qd_graph_new_name(graph, base, name, sizeof(name)), QD_F32, &bias_shape,
                                   bias_data, &index, &bias, err);
    if (status == QD_OK)
        status = qd_graph_set_input(graph, node, 2, index, err);
    *ret_weights = weights;
    *ret_bias = bias;
    return status;
}

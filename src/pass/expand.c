/*
 * What a file has on bytes becomes what it is on floats, before shapes are inferred: operators that are compositions,
 * and those that move bytes between QuantizeLinear and another's DequantizeLinear. Then integers stand between a
 * QuantizeLinear and its DequantizeLinear only, and import_qdq has nothing else to know.
 */
#include <stdio.h>
#include <string.h>

#include "pass/import_qdq.h"

/* Of one element each, and the same. */
static bool same_constant(const struct qd_graph *graph, int a, int b)
{
    const struct qd_value *x = a >= 0 ? &graph->values[a] : NULL, *y = b >= 0 ? &graph->values[b] : NULL;

    if (a == b)
        return true;
    return x && y && x->data && y->data && x->dtype == y->dtype && qd_shape_count(&x->shape) == 1 &&
           qd_shape_count(&y->shape) == 1 && memcmp(x->data, y->data, qd_dtype_size(x->dtype)) == 0;
}

static int input_or_none(const struct qd_node *node, int i)
{
    return i < node->n_inputs ? node->inputs[i] : QD_NO_VALUE;
}

/* The QuantizeLinear that makes all that the node moves, or -1. */
static int common_quantize(const struct qd_graph *graph, const struct qd_node *node)
{
    int found = -1;

    if (!(node->op->flags & (QD_OP_SAME_SCALE | QD_OP_COPY)) && node->op != &qd_op_identity)
        return -1;
    for (int i = 0; i < node->n_inputs; i++) {
        int producer = node->inputs[i] == QD_NO_VALUE ? -1 : graph->values[node->inputs[i]].producer;
        const struct qd_node *maker = producer < 0 ? NULL : &graph->nodes[producer];

        if (!maker || !qd_is_quantize(maker->op)) {
            /* Of several operands all have to be bytes; a shape or an axis is none. */
            if (i == 0 || node->op->max_inputs < 0)
                return -1;
            continue;
        }
        if (found >= 0 && (!same_constant(graph, graph->nodes[found].inputs[1], maker->inputs[1]) ||
                           !same_constant(graph, input_or_none(&graph->nodes[found], 2), input_or_none(maker, 2))))
            return -1;
        found = found < 0 ? producer : found;
    }
    return found;
}

/* A QuantizeLinear or DequantizeLinear with the scale and zero point of node `like`. */
static enum qd_status add_like(struct qd_graph *graph, int like, const struct qd_op *op, int input, int *ret,
                               struct qd_error *err)
{
    const struct qd_node *from = &graph->nodes[like];
    int inputs[3] = {input, from->inputs[1], input_or_none(from, 2)};
    const struct qd_attr *attrs = from->attrs;
    int n_attrs = from->n_attrs, n_inputs = from->n_inputs, opset = from->opset;
    char base[256], name[272];
    struct qd_node *node;
    enum qd_status status;

    snprintf(base, sizeof(base), "%.240s.%s", graph->values[input].name,
             op == &qd_op_quantize_linear ? "bytes" : "real");
    status = qd_graph_add_value(graph, qd_graph_new_name(graph, base, name, sizeof(name)), ret, err);
    if (status == QD_OK)
        status = qd_graph_add_node(graph, name, op->name, op, inputs, n_inputs, ret, 1, &node, err);
    if (status != QD_OK)
        return status;
    node->opset = opset;
    node->attrs = (struct qd_attr *)(uintptr_t)attrs;
    node->n_attrs = n_attrs;
    graph->values[*ret].producer = graph->n_nodes - 1;
    return QD_OK;
}

/* The node moves floats, and its outputs are bytes of the same scale again. */
static enum qd_status wrap(struct qd_graph *graph, int n, int quantize, struct qd_error *err)
{
    enum qd_status status = QD_OK;

    for (int i = 0; i < graph->nodes[n].n_inputs && status == QD_OK; i++) {
        int value = graph->nodes[n].inputs[i], producer = value < 0 ? -1 : graph->values[value].producer, real;

        if (producer < 0 || !qd_is_quantize(graph->nodes[producer].op))
            continue;
        status = add_like(graph, producer, &qd_op_dequantize_linear, value, &real, err);
        graph->nodes[n].inputs[i] = real;
    }
    for (int i = 0; i < graph->nodes[n].n_outputs && status == QD_OK; i++) {
        int value = graph->nodes[n].outputs[i], n_before = graph->n_nodes, bytes;

        /* A second output of these (MaxPool's indices) is no copy, but for Split's. */
        if (value == QD_NO_VALUE || (i > 0 && graph->nodes[n].op->n_outputs))
            continue;
        status = add_like(graph, quantize, &qd_op_quantize_linear, value, &bytes, err);
        if (status != QD_OK)
            return status;
        qd_graph_replace_uses(graph, value, bytes);
        graph->nodes[n_before].inputs[0] = value;
    }
    return status;
}

/*
 * Whether the float operator means the same: a Pad with a constant means byte 0 where it has none, another real number;
 * and one scale per index does not follow an operator that moves its axis.
 */
static bool can_wrap(const struct qd_graph *graph, const struct qd_node *node, const struct qd_node *quantize)
{
    const struct qd_value *scale = qd_node_input(graph, quantize, 1);
    const char *mode = "constant";

    (void)qd_node_attr_string(node, "mode", "constant", &mode, NULL);
    if (node->op == &qd_op_pad && strcmp(mode, "constant") == 0)
        return false;
    return scale->data && qd_shape_count(&scale->shape) == 1;
}

enum qd_status qd_pass_expand(struct qd_graph *graph, struct qd_error *err)
{
    int n_nodes = graph->n_nodes;
    enum qd_status status = QD_OK;

    for (int n = 0; n < n_nodes && status == QD_OK; n++) {
        if (!graph->nodes[n].op->expand)
            continue;
        status = graph->nodes[n].op->expand(graph, n, err);
        if (status != QD_OK)
            qd_error_context(err, status, "node '%.80s' (%s)", graph->nodes[n].name, graph->nodes[n].op->name);
    }
    if (status == QD_OK)
        status = qd_graph_sort(graph, err);
    n_nodes = graph->n_nodes;
    for (int n = 0; n < n_nodes && status == QD_OK; n++) {
        int quantize = common_quantize(graph, &graph->nodes[n]);

        if (quantize >= 0 && can_wrap(graph, &graph->nodes[n], &graph->nodes[quantize]))
            status = wrap(graph, n, quantize, err);
    }
    return status == QD_OK ? qd_graph_sort(graph, err) : status;
}

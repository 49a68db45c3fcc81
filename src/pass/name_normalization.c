/*
 * LayerNormalization as exporters write it before opset 17, made one again:
 *   d = x - ReduceMean(x);  d / Sqrt(ReduceMean(Pow(d, 2)) + epsilon) * scale + bias
 * over the last dimension. The square may be d * d; scale and bias may be missing.
 */
#include "op/elementwise.h"
#include "op/reduce.h"
#include "pass/internal.h"

/* The nodes of one normalization, and what it is of. */
struct found {
    struct qd_node *mean, *difference, *square, *variance, *sum, *root;
    int x;
    float epsilon;
};

static bool is_last_mean(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_reduce_params *params = node->params;
    int n_dims = graph->values[node->inputs[0]].shape.n_dims;

    for (int d = 0; d < n_dims; d++)
        if (params->reduce[d] != (d == n_dims - 1))
            return false;
    return params->keepdims != 0 && n_dims > 0;
}

static bool is_square(const struct qd_graph *graph, const struct qd_node *node, int value)
{
    float exponent;

    if (node->op == &qd_op_mul)
        return node->inputs[0] == value && node->inputs[1] == value;
    return node->op == &qd_op_pow && node->inputs[0] == value && qd_pass_scalar(graph, node, &exponent) &&
           exponent == 2;
}

/* The normalization whose quotient the node is. */
static bool find(struct qd_graph *graph, const struct qd_node *quotient, struct found *ret)
{
    int d = quotient->inputs[0], producer = graph->values[d].producer, square;

    ret->difference = producer >= 0 ? &graph->nodes[producer] : NULL;
    if (!ret->difference || ret->difference->op != &qd_op_sub || graph->values[d].given)
        return false;
    ret->x = ret->difference->inputs[0];
    ret->mean = qd_pass_maker(graph, ret->difference->inputs[1], &qd_op_reduce_mean);
    ret->root = qd_pass_maker(graph, quotient->inputs[1], &qd_op_sqrt);
    ret->sum = ret->root ? qd_pass_maker(graph, ret->root->inputs[0], &qd_op_add) : NULL;
    ret->variance = ret->sum ? qd_pass_maker(graph, ret->sum->inputs[0], &qd_op_reduce_mean) : NULL;
    if (!ret->mean || !ret->variance || ret->mean->inputs[0] != ret->x || !is_last_mean(graph, ret->mean) ||
        !is_last_mean(graph, ret->variance) || !qd_pass_scalar(graph, ret->sum, &ret->epsilon))
        return false;
    square = graph->values[ret->variance->inputs[0]].producer;
    ret->square = square >= 0 ? &graph->nodes[square] : NULL;
    return ret->square && qd_graph_only_user(graph, ret->square->outputs[0]) && is_square(graph, ret->square, d) &&
           qd_graph_n_uses(graph, d) == (ret->square->op == &qd_op_mul ? 3 : 2);
}

/* The one reader of the node's output, if it is that operator with a constant row; *ret_row. */
static struct qd_node *row_behind(struct qd_graph *graph, const struct qd_node *node, const struct qd_op *op,
                                  int *ret_row)
{
    const struct qd_shape *shape = &graph->values[node->outputs[0]].shape;
    struct qd_node *user = qd_graph_only_user(graph, node->outputs[0]);

    if (!user || user->op != op || user->inputs[0] != node->outputs[0] || graph->values[node->outputs[0]].given)
        return NULL;
    *ret_row = user->inputs[1];
    return qd_elementwise_constants(&graph->values[*ret_row], shape, shape->n_dims - 1) ==
                       shape->dims[shape->n_dims - 1] &&
                   qd_shape_equal(shape, &graph->values[user->outputs[0]].shape)
               ? user
               : NULL;
}

static enum qd_status become(struct qd_graph *graph, struct qd_node *node, const struct found *found, int scale,
                             int bias, struct qd_error *err)
{
    struct qd_attr *epsilon = qd_arena_alloc(&graph->arena, sizeof(*epsilon));
    enum qd_status status;

    if (!epsilon)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");
    *epsilon = (struct qd_attr){.name = "epsilon", .kind = QD_ATTR_FLOAT, .f = found->epsilon};
    qd_pass_become(node, &qd_op_layer_normalization, found->x, NULL);
    node->attrs = epsilon;
    node->n_attrs = 1;
    status = qd_graph_set_input(graph, node, 1, scale, err);
    if (status == QD_OK && bias != QD_NO_VALUE)
        status = qd_graph_set_input(graph, node, 2, bias, err);
    if (status == QD_OK)
        status = qd_op_layer_normalization.parse(graph, node, err);
    return status == QD_OK ? qd_op_layer_normalization.infer(graph, node, err) : status;
}

static enum qd_status name_one(struct qd_graph *graph, struct qd_node *quotient, const struct found *found, bool *keep,
                               struct qd_error *err)
{
    const struct qd_node *gone[] = {found->mean,     found->difference, found->square,
                                    found->variance, found->sum,        found->root};
    int scale = QD_NO_VALUE, bias = QD_NO_VALUE;
    struct qd_node *last = quotient, *scaled = row_behind(graph, quotient, &qd_op_mul, &scale), *shifted;
    enum qd_status status = QD_OK;

    if (scaled) {
        last = scaled;
        keep[quotient - graph->nodes] = false;
    } else {
        const float one = 1;
        char name[256];

        status = qd_graph_add_constant(graph, qd_graph_new_name(graph, "quantd.one", name, sizeof(name)), QD_F32,
                                       &(struct qd_shape){.n_dims = 1, .dims = {1}}, &one, &scale, NULL, err);
    }
    if (status != QD_OK)
        return status;
    shifted = row_behind(graph, last, &qd_op_add, &bias);
    if (shifted) {
        keep[last - graph->nodes] = false;
        last = shifted;
    }
    for (size_t i = 0; i < QD_ARRAY_SIZE(gone); i++)
        keep[gone[i] - graph->nodes] = false;
    return become(graph, last, found, scale, shifted ? bias : QD_NO_VALUE, err);
}

enum qd_status qd_pass_name_normalization(struct qd_graph *graph, struct qd_error *err)
{
    bool *keep = qd_alloc_array((size_t)graph->n_nodes + 1, sizeof(bool));
    enum qd_status status = keep ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");

    for (int n = 0; n < graph->n_nodes && keep; n++)
        keep[n] = true;
    for (int n = 0; n < graph->n_nodes && status == QD_OK; n++) {
        struct found found;

        if (keep[n] && graph->nodes[n].op == &qd_op_div && graph->nodes[n].act.kind == QD_ACT_NONE &&
            find(graph, &graph->nodes[n], &found))
            status = name_one(graph, &graph->nodes[n], &found, keep, err);
    }
    if (status == QD_OK)
        qd_graph_keep_nodes(graph, keep);
    qd_free(keep);
    return status;
}

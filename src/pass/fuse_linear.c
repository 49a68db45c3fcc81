/*
 * MatMul with a constant matrix, and behind it what exporters write of a linear layer and around it:
 *   Add of a bias, Mul by a scale per channel      into the matrix: quantd.Linear
 *   Transpose back to a picture, then Mul (or Add) the same
 *   Transpose, then Add of another activation      Add of that one's Transpose, then Transpose: fuse_residual can take
 * it
 */
#include <stdio.h>

#include "op/elementwise.h"
#include "op/transpose.h"
#include "pass/internal.h"

static bool is_linear(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_value *b = qd_node_input(graph, node, 1);

    return (node->op == &qd_op_mat_mul || node->op == &qd_op_linear) && node->act.kind == QD_ACT_NONE &&
           node->residual < 0 && !qd_node_input(graph, node, 0)->data && b->data && b->shape.n_dims == 2 &&
           !graph->values[node->outputs[0]].given;
}

/* The one reader of the node's output, if it is a Transpose that puts the channels of rank 4 in front of the rest. */
static struct qd_node *picture_behind(struct qd_graph *graph, const struct qd_node *node)
{
    static const int perm[] = {0, 3, 1, 2};
    struct qd_node *user = qd_graph_only_user(graph, node->outputs[0]);
    bool is_picture = user && user->op == &qd_op_transpose && graph->values[user->outputs[0]].shape.n_dims == 4 &&
                      !graph->values[user->outputs[0]].given;

    for (int d = 0; d < 4 && is_picture; d++)
        is_picture = ((const struct qd_transpose_params *)user->params)->perm[d] == perm[d];
    return is_picture ? user : NULL;
}

/* Whether the node is a line of the value, in constants for all or by that dimension; *ret_one: for all. */
static bool is_line(const struct qd_graph *graph, const struct qd_node *node, int value, int channel, bool *ret_one)
{
    const struct qd_shape *shape = &graph->values[value].shape;
    const struct qd_value *b;
    int64_t n;

    if (node->op != &qd_op_add && node->op != &qd_op_sub && node->op != &qd_op_mul && node->op != &qd_op_div)
        return false;
    b = qd_node_input(graph, node, 1);
    if (node->inputs[0] != value || node->act.kind != QD_ACT_NONE ||
        !qd_shape_equal(shape, &graph->values[node->outputs[0]].shape))
        return false;
    n = qd_elementwise_constants(b, shape, channel);
    *ret_one = n == 1;
    return n > 0;
}

/* The node's own matrix and row, to be changed. */
static enum qd_status own_constants(struct qd_graph *graph, struct qd_node *node, float **ret_w, float **ret_bias,
                                    struct qd_error *err)
{
    struct qd_value w = graph->values[node->inputs[1]];
    struct qd_shape row = {.n_dims = 1, .dims = {w.shape.dims[1]}};
    char name[256], base[128];
    void *data;
    int index;
    enum qd_status status;

    if (node->op == &qd_op_linear) { /* made here */
        *ret_w = (float *)(uintptr_t)w.data;
        *ret_bias = (float *)(uintptr_t)graph->values[node->inputs[2]].data;
        return QD_OK;
    }
    snprintf(base, sizeof(base), "%.100s.weights", node->name);
    status = qd_graph_add_constant(graph, qd_graph_new_name(graph, base, name, sizeof(name)), QD_F32, &w.shape, w.data,
                                   &index, &data, err);
    if (status != QD_OK)
        return status;
    *ret_w = data;
    node->inputs[1] = index;
    snprintf(base, sizeof(base), "%.100s.bias", node->name);
    status = qd_graph_add_constant(graph, qd_graph_new_name(graph, base, name, sizeof(name)), QD_F32, &row, NULL,
                                   &index, &data, err);
    if (status != QD_OK)
        return status;
    *ret_bias = data;
    status = qd_graph_set_input(graph, node, 2, index, err);
    node->op = &qd_op_linear;
    node->op_name = qd_op_linear.name;
    return status;
}

static enum qd_status fold(struct qd_graph *graph, struct qd_node *node, const struct qd_node *line, bool one,
                           struct qd_error *err)
{
    const struct qd_elementwise *functions = line->op->functions;
    const float *constants = graph->values[line->inputs[1]].data;
    const struct qd_shape shape = graph->values[node->inputs[1]].shape;
    float *w, *bias;
    enum qd_status status = own_constants(graph, node, &w, &bias, err);

    for (int64_t j = 0; j < shape.dims[1] && status == QD_OK; j++) {
        double mult, add;

        functions->line((double)constants[one ? 0 : j], &mult, &add);
        if (mult != 1)
            node->layer_weights = NULL; /* they were the old ones' integers */
        for (int64_t i = 0; i < shape.dims[0]; i++)
            w[i * shape.dims[1] + j] = (float)((double)w[i * shape.dims[1] + j] * mult);
        bias[j] = (float)((double)bias[j] * mult + add);
    }
    return status;
}

/* All lines behind one node, those behind a Transpose too. */
static enum qd_status fold_lines(struct qd_graph *graph, struct qd_node *node, bool *keep, struct qd_error *err)
{
    const struct qd_node *last = node;
    int channel = graph->values[node->outputs[0]].shape.n_dims - 1;
    enum qd_status status = QD_OK;

    while (status == QD_OK) {
        int value = last->outputs[0];
        struct qd_node *user = qd_graph_only_user(graph, value);
        bool one;

        if (last == node && picture_behind(graph, node)) {
            last = picture_behind(graph, node);
            channel = 1;
            continue;
        }
        if (!user || !is_line(graph, user, value, channel, &one) || graph->values[value].given)
            break;
        status = fold(graph, node, user, one, err);
        graph->values[value].given = graph->values[user->outputs[0]].given;
        graph->values[value].q = graph->values[user->outputs[0]].q;
        qd_graph_replace_uses(graph, user->outputs[0], value);
        user->inputs[0] = QD_NO_VALUE; /* it is no reader any more */
        keep[user - graph->nodes] = false;
    }
    return status;
}

/* Value [1,c,h,w] as [1,h,w,c]: *ret. Nodes may move. */
static enum qd_status add_rows_of(struct qd_graph *graph, int value, const char *base, int *ret, struct qd_error *err)
{
    static const int perm[] = {0, 2, 3, 1};
    static const int64_t written[] = {0, 2, 3, 1};
    struct qd_transpose_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    struct qd_attr *attr = qd_arena_alloc(&graph->arena, sizeof(*attr));
    char name[256];
    struct qd_node *node;
    enum qd_status status;

    if (!params || !attr)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");
    *attr = (struct qd_attr){.name = "perm", .kind = QD_ATTR_INTS, .ints = written, .n = 4};
    for (int d = 0; d < 4; d++)
        params->perm[d] = perm[d];
    params->given = written;
    params->n_given = 4;
    status = qd_graph_add_value(graph, qd_graph_new_name(graph, base, name, sizeof(name)), ret, err);
    if (status == QD_OK)
        status = qd_graph_add_node(graph, name, qd_op_transpose.name, &qd_op_transpose, &value, 1, ret, 1, &node, err);
    if (status != QD_OK)
        return status;
    node->attrs = attr;
    node->n_attrs = 1;
    node->params = params;
    graph->values[*ret].q = graph->values[value].q;
    graph->values[*ret].given = graph->values[value].given;
    return qd_op_transpose.infer(graph, node, err);
}

/* Linear, Transpose, Add becomes Linear, Add, Transpose. */
static enum qd_status sink_transpose(struct qd_graph *graph, int n, struct qd_error *err)
{
    const struct qd_node *transpose = picture_behind(graph, &graph->nodes[n]);
    const struct qd_node *add = transpose ? qd_graph_only_user(graph, transpose->outputs[0]) : NULL;
    int at_transpose, at_add, linear = graph->nodes[n].outputs[0], other, rows, sum, out;
    char base[128], name[256];
    enum qd_status status;

    if (!add || add->op != &qd_op_add || add->act.kind != QD_ACT_NONE || add->residual >= 0)
        return QD_OK;
    other = add->inputs[add->inputs[0] == transpose->outputs[0]];
    if (other == transpose->outputs[0] || graph->values[other].data || graph->values[add->outputs[0]].given ||
        !qd_shape_equal(&graph->values[other].shape, &graph->values[add->outputs[0]].shape))
        return QD_OK;
    at_transpose = (int)(transpose - graph->nodes);
    at_add = (int)(add - graph->nodes);
    out = add->outputs[0];
    snprintf(base, sizeof(base), "%.100s.rows", add->name);
    status = add_rows_of(graph, other, base, &rows, err);
    snprintf(base, sizeof(base), "%.100s.sum", graph->nodes[at_add].name);
    if (status == QD_OK)
        status = qd_graph_add_value(graph, qd_graph_new_name(graph, base, name, sizeof(name)), &sum, err);
    if (status != QD_OK)
        return status;
    graph->nodes[at_add].inputs[0] = linear;
    graph->nodes[at_add].inputs[1] = rows;
    graph->nodes[at_add].outputs[0] = sum;
    graph->nodes[at_transpose].inputs[0] = sum;
    graph->nodes[at_transpose].outputs[0] = out;
    graph->values[sum].producer = at_add;
    graph->values[out].producer = at_transpose;
    return graph->nodes[at_add].op->infer(graph, &graph->nodes[at_add], err);
}

enum qd_status qd_pass_fuse_linear(struct qd_graph *graph, struct qd_error *err)
{
    bool *keep = qd_alloc_array((size_t)graph->n_nodes + 1, sizeof(bool));
    enum qd_status status = keep ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");

    for (int n = 0; n < graph->n_nodes && keep; n++)
        keep[n] = true;
    for (int n = 0; n < graph->n_nodes && status == QD_OK; n++)
        if (keep[n] && is_linear(graph, &graph->nodes[n]))
            status = fold_lines(graph, &graph->nodes[n], keep, err);
    if (status == QD_OK)
        qd_graph_keep_nodes(graph, keep);
    qd_free(keep);
    for (int n = 0, n_nodes = graph->n_nodes; n < n_nodes && status == QD_OK; n++)
        if (graph->nodes[n].op == &qd_op_linear)
            status = sink_transpose(graph, n, err);
    return status;
}

/*
 * Which tensors of rank 4 are no pictures: MatMul and LayerNormalization work on the last dimension, and what is joined
 * to them by operators that do not care lies so too. Whatever an operator of pictures reads or makes stays one.
 */
#include "pass/internal.h"

struct orders {
    const struct qd_graph *graph;
    int *class_of;        /* by value: one of its class, itself at the end */
    bool *rows, *picture; /* by class: what some operator takes it as */
};

static int class_of(const struct orders *o, int value)
{
    while (o->class_of[value] != value)
        value = o->class_of[value];
    return value;
}

static int value_at(const struct qd_node *node, int i)
{
    return i < node->n_inputs ? node->inputs[i] : node->outputs[i - node->n_inputs];
}

static bool has_order(const struct qd_graph *graph, int value)
{
    return value != QD_NO_VALUE && !graph->values[value].data && graph->values[value].shape.n_dims == 4;
}

/* Tensors of one node that have to lie alike. */
static void join(struct orders *o, const struct qd_node *node)
{
    int first = QD_NO_VALUE;

    for (int i = 0; i < node->n_inputs + node->n_outputs; i++) {
        int value = value_at(node, i);

        if (!has_order(o->graph, value))
            continue;
        if (first != QD_NO_VALUE)
            o->class_of[class_of(o, value)] = class_of(o, first);
        first = value;
    }
}

/* An operator without an int8 form reads floats, which lie as ONNX says. */
static void mark(const struct orders *o, const struct qd_node *node)
{
    unsigned flags = node->op->flags;
    bool pictures = node->op->prepare_q8 && !(flags & (QD_OP_ROWS | QD_OP_ANY_ORDER | QD_OP_TWO_ORDERS));

    for (int i = 0; i < node->n_inputs + node->n_outputs; i++) {
        int value = value_at(node, i);

        if (!has_order(o->graph, value))
            continue;
        if (flags & QD_OP_ROWS)
            o->rows[class_of(o, value)] = true;
        if (pictures)
            o->picture[class_of(o, value)] = true;
    }
}

enum qd_status qd_pass_find_rows(struct qd_graph *graph, struct qd_error *err)
{
    struct qd_arena scratch = {0};
    size_t n = (size_t)graph->n_values + 1;
    struct orders o = {.graph = graph,
                       .class_of = qd_arena_array(&scratch, n, sizeof(int)),
                       .rows = qd_arena_array(&scratch, n, sizeof(bool)),
                       .picture = qd_arena_array(&scratch, n, sizeof(bool))};
    bool complete = o.class_of && o.rows && o.picture;

    for (int v = 0; v < graph->n_values && complete; v++)
        o.class_of[v] = v;
    for (int i = 0; i < graph->n_nodes && complete; i++)
        if (graph->nodes[i].op->flags & QD_OP_ANY_ORDER)
            join(&o, &graph->nodes[i]);
    for (int i = 0; i < graph->n_nodes && complete; i++)
        mark(&o, &graph->nodes[i]);
    if (complete && graph->pixels != QD_NO_VALUE)
        o.picture[class_of(&o, graph->pixels)] = true;
    for (int v = 0; v < graph->n_values && complete; v++)
        graph->values[v].rows = has_order(graph, v) && o.rows[class_of(&o, v)] && !o.picture[class_of(&o, v)];
    qd_arena_done(&scratch);
    return complete ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");
}

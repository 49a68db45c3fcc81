#include "graph/graph.h"

#include <stdio.h>
#include <string.h>

#define GRAPH_MAX_BYTES ((size_t)8 << 30)

struct qd_graph *qd_graph_new(void)
{
    struct qd_graph *graph = qd_alloc(sizeof(*graph));

    if (!graph)
        return NULL;
    graph->arena.limit_bytes = GRAPH_MAX_BYTES;
    graph->pixels = QD_NO_VALUE;
    return graph;
}

void qd_graph_free(struct qd_graph *graph)
{
    if (!graph)
        return;
    qd_arena_done(&graph->arena);
    qd_free(graph->values);
    qd_free(graph->nodes);
    qd_free(graph->inputs);
    qd_free(graph->outputs);
    qd_free(graph->index);
    qd_free(graph);
}

static enum qd_status no_memory(struct qd_error *err)
{
    return qd_error_set(err, QD_NO_MEMORY, "no memory for the graph");
}

static size_t hash_name(const char *name)
{
    size_t hash = 1469598103934665603u;

    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 1099511628211u;
    return hash;
}

/* The slot of the name, or the free one where it would go. index_size is a power of two, at most half full. */
static size_t find_slot(const struct qd_graph *graph, const char *name)
{
    size_t slot = hash_name(name) & (graph->index_size - 1);

    while (graph->index[slot] && strcmp(graph->values[graph->index[slot] - 1].name, name) != 0)
        slot = (slot + 1) & (graph->index_size - 1);
    return slot;
}

static enum qd_status grow_index(struct qd_graph *graph, struct qd_error *err)
{
    size_t size = graph->index_size ? graph->index_size * 2 : 64;
    int *index;

    if ((size_t)graph->n_values * 2 < graph->index_size)
        return QD_OK;
    index = qd_alloc_array(size, sizeof(int));
    if (!index)
        return no_memory(err);
    qd_free(graph->index);
    graph->index = index;
    graph->index_size = size;
    for (int i = 0; i < graph->n_values; i++)
        graph->index[find_slot(graph, graph->values[i].name)] = i + 1;
    return QD_OK;
}

int qd_graph_find_value(const struct qd_graph *graph, const char *name)
{
    return graph->index_size ? graph->index[find_slot(graph, name)] - 1 : -1;
}

enum qd_status qd_graph_add_value(struct qd_graph *graph, const char *name, int *ret_index, struct qd_error *err)
{
    struct qd_value *value;
    enum qd_status status;

    if (qd_graph_find_value(graph, name) >= 0)
        return qd_error_set(err, QD_INVALID, "value '%s' is made twice", name);
    status =
        qd_grow((void **)&graph->values, &graph->values_capacity, (size_t)graph->n_values + 1, sizeof(*value), err);
    if (status != QD_OK)
        return status;
    status = grow_index(graph, err);
    if (status != QD_OK)
        return status;
    value = &graph->values[graph->n_values];
    memset(value, 0, sizeof(*value));
    value->name = qd_arena_strdup(&graph->arena, name);
    if (!value->name)
        return no_memory(err);
    value->producer = -1;
    graph->index[find_slot(graph, name)] = graph->n_values + 1;
    *ret_index = graph->n_values++;
    return QD_OK;
}

enum qd_status qd_graph_add_constant(struct qd_graph *graph, const char *name, enum qd_dtype dtype,
                                     const struct qd_shape *shape, const void *data, int *ret_index, void **ret_data,
                                     struct qd_error *err)
{
    int64_t count = qd_shape_count(shape);
    enum qd_status status;
    void *copy;
    int index;

    if (count < 0)
        return qd_error_set(err, QD_TOO_LARGE, "constant '%s': more than %d elements", name, QD_MAX_ELEMENTS);
    copy = qd_arena_array(&graph->arena, (size_t)count, qd_dtype_size(dtype));
    if (!copy)
        return no_memory(err);
    if (data && count)
        memcpy(copy, data, (size_t)count * qd_dtype_size(dtype));
    status = qd_graph_add_value(graph, name, &index, err);
    if (status != QD_OK)
        return status;
    graph->values[index].has_shape = true;
    graph->values[index].shape = *shape;
    graph->values[index].dtype = dtype;
    graph->values[index].data = copy;
    *ret_index = index;
    if (ret_data)
        *ret_data = copy;
    return QD_OK;
}

enum qd_status qd_graph_add_node(struct qd_graph *graph, const char *name, const char *op_name, const struct qd_op *op,
                                 const int *inputs, int n_inputs, const int *outputs, int n_outputs,
                                 struct qd_node **ret, struct qd_error *err)
{
    struct qd_node node = {.op = op, .n_inputs = n_inputs, .n_outputs = n_outputs, .residual = -1};
    enum qd_status status;

    status = qd_grow((void **)&graph->nodes, &graph->nodes_capacity, (size_t)graph->n_nodes + 1, sizeof(node), err);
    if (status != QD_OK)
        return status;
    node.name = qd_arena_strdup(&graph->arena, name);
    node.op_name = qd_arena_strdup(&graph->arena, op_name);
    node.inputs = qd_arena_array(&graph->arena, (size_t)n_inputs, sizeof(int));
    node.outputs = qd_arena_array(&graph->arena, (size_t)n_outputs, sizeof(int));
    if (!node.name || !node.op_name || !node.inputs || !node.outputs)
        return no_memory(err);
    if (n_inputs)
        memcpy(node.inputs, inputs, (size_t)n_inputs * sizeof(int));
    if (n_outputs)
        memcpy(node.outputs, outputs, (size_t)n_outputs * sizeof(int));
    graph->nodes[graph->n_nodes] = node;
    *ret = &graph->nodes[graph->n_nodes++];
    return QD_OK;
}

enum qd_status qd_graph_set_input(struct qd_graph *graph, struct qd_node *node, int i, int value, struct qd_error *err)
{
    if (i >= node->n_inputs) {
        int *inputs = qd_arena_array(&graph->arena, (size_t)i + 1, sizeof(int));

        if (!inputs)
            return no_memory(err);
        for (int j = 0; j <= i; j++)
            inputs[j] = j < node->n_inputs ? node->inputs[j] : QD_NO_VALUE;
        node->inputs = inputs;
        node->n_inputs = i + 1;
    }
    node->inputs[i] = value;
    return QD_OK;
}

static enum qd_status set_producers(struct qd_graph *graph, struct qd_error *err)
{
    for (int v = 0; v < graph->n_values; v++)
        graph->values[v].producer = -1;
    for (int n = 0; n < graph->n_nodes; n++) {
        for (int i = 0; i < graph->nodes[n].n_outputs; i++) {
            int v = graph->nodes[n].outputs[i];

            if (v == QD_NO_VALUE)
                continue;
            if (graph->values[v].producer >= 0 || graph->values[v].data)
                return qd_error_set(err, QD_INVALID, "value '%s' is made twice, the second time by node '%s'",
                                    graph->values[v].name, graph->nodes[n].name);
            graph->values[v].producer = n;
        }
    }
    return QD_OK;
}

static bool is_input(const struct qd_graph *graph, int value)
{
    for (int i = 0; i < graph->n_inputs; i++)
        if (graph->inputs[i] == value)
            return true;
    return false;
}

/*
 * Depth first with a stack of our own (a chain of a million nodes must not overflow the thread's), nodes tried in their
 * first order: an order that is right already stays as it is. mark: 0 new, 1 on the stack, 2 placed.
 */
static enum qd_status place_nodes(struct qd_graph *graph, int *order, int *stack, int *next, uint8_t *mark,
                                  struct qd_error *err)
{
    int n_placed = 0;

    for (int root = 0; root < graph->n_nodes; root++) {
        int depth = 0;

        if (mark[root])
            continue;
        stack[depth] = root;
        next[depth++] = 0;
        mark[root] = 1;
        while (depth) {
            const struct qd_node *node = &graph->nodes[stack[depth - 1]];
            int v, producer;

            if (next[depth - 1] == node->n_inputs) {
                mark[stack[depth - 1]] = 2;
                order[n_placed++] = stack[--depth];
                continue;
            }
            v = node->inputs[next[depth - 1]++];
            if (v == QD_NO_VALUE || graph->values[v].data || is_input(graph, v))
                continue;
            producer = graph->values[v].producer;
            if (producer < 0)
                return qd_error_set(err, QD_INVALID, "node '%s' reads '%s', which nothing makes", node->name,
                                    graph->values[v].name);
            if (mark[producer] == 1)
                return qd_error_set(err, QD_INVALID, "the graph has a cycle through nodes '%s' and '%s'", node->name,
                                    graph->nodes[producer].name);
            if (!mark[producer]) {
                mark[producer] = 1;
                stack[depth] = producer;
                next[depth++] = 0;
            }
        }
    }
    return QD_OK;
}

enum qd_status qd_graph_sort(struct qd_graph *graph, struct qd_error *err)
{
    struct qd_arena scratch = {0};
    size_t n = (size_t)graph->n_nodes + 1;
    int *order = qd_arena_array(&scratch, n, sizeof(int));
    int *stack = qd_arena_array(&scratch, n, sizeof(int));
    int *next = qd_arena_array(&scratch, n, sizeof(int));
    uint8_t *mark = qd_arena_array(&scratch, n, 1);
    struct qd_node *sorted = qd_alloc_array(n, sizeof(*sorted));
    enum qd_status status;

    if (!order || !stack || !next || !mark || !sorted)
        status = no_memory(err);
    else
        status = set_producers(graph, err);
    if (status == QD_OK)
        status = place_nodes(graph, order, stack, next, mark, err);
    if (status == QD_OK) {
        for (int i = 0; i < graph->n_nodes; i++)
            sorted[i] = graph->nodes[order[i]];
        qd_free(graph->nodes);
        graph->nodes = sorted;
        graph->nodes_capacity = n;
        sorted = NULL;
        status = set_producers(graph, err);
    }
    for (int i = 0; i < graph->n_outputs && status == QD_OK; i++) {
        const struct qd_value *v = &graph->values[graph->outputs[i]];

        if (v->producer < 0 && !v->data && !is_input(graph, graph->outputs[i]))
            status = qd_error_set(err, QD_INVALID, "output '%s' is made by nothing", v->name);
    }
    qd_free(sorted);
    qd_arena_done(&scratch);
    return status;
}

enum qd_status qd_graph_verify(const struct qd_graph *graph, struct qd_error *err)
{
    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];

        if (!node->op || node->residual >= node->n_inputs)
            return qd_error_set(err, QD_INVALID, "node '%s' is broken", node->name);
        for (int i = 0; i < node->n_inputs; i++) {
            int v = node->inputs[i];

            if (v < QD_NO_VALUE || v >= graph->n_values)
                return qd_error_set(err, QD_INVALID, "node '%s': input %d is out of range", node->name, i);
            if (v != QD_NO_VALUE && graph->values[v].producer >= n)
                return qd_error_set(err, QD_INVALID, "node '%s' stands before what it reads", node->name);
        }
        for (int i = 0; i < node->n_outputs; i++) {
            int v = node->outputs[i];

            if (v == QD_NO_VALUE)
                continue;
            if (v < 0 || v >= graph->n_values || graph->values[v].producer != n || !graph->values[v].has_shape)
                return qd_error_set(err, QD_INVALID, "node '%s': output %d is broken", node->name, i);
        }
    }
    return QD_OK;
}

static bool is_among(const int *list, int n, int value)
{
    for (int i = 0; i < n; i++)
        if (list[i] == value)
            return true;
    return false;
}

const char *qd_graph_new_name(const struct qd_graph *graph, const char *base, char *text, size_t size)
{
    snprintf(text, size, "%s", base);
    for (int i = 1; qd_graph_find_value(graph, text) >= 0; i++)
        snprintf(text, size, "%.*s.%d", (int)size - 16, base, i);
    return text;
}

bool qd_graph_is_output(const struct qd_graph *graph, int value)
{
    return is_among(graph->outputs, graph->n_outputs, value);
}

bool qd_graph_is_input(const struct qd_graph *graph, int value)
{
    return is_among(graph->inputs, graph->n_inputs, value);
}

int qd_graph_n_uses(const struct qd_graph *graph, int value)
{
    int n_uses = qd_graph_is_output(graph, value);

    for (int n = 0; n < graph->n_nodes; n++)
        for (int i = 0; i < graph->nodes[n].n_inputs; i++)
            n_uses += graph->nodes[n].inputs[i] == value;
    return n_uses;
}

struct qd_node *qd_graph_only_user(const struct qd_graph *graph, int value)
{
    struct qd_node *user = NULL;

    if (qd_graph_n_uses(graph, value) != 1)
        return NULL;
    for (int n = 0; n < graph->n_nodes && !user; n++)
        for (int i = 0; i < graph->nodes[n].n_inputs; i++)
            if (graph->nodes[n].inputs[i] == value)
                user = &graph->nodes[n];
    return user;
}

bool qd_graph_has_given_scales(const struct qd_graph *graph)
{
    for (int v = 0; v < graph->n_values; v++)
        if (graph->values[v].given && graph->values[v].producer >= 0)
            return true;
    return false;
}

void qd_graph_replace_uses(struct qd_graph *graph, int from, int to)
{
    for (int n = 0; n < graph->n_nodes; n++)
        for (int i = 0; i < graph->nodes[n].n_inputs; i++)
            if (graph->nodes[n].inputs[i] == from)
                graph->nodes[n].inputs[i] = to;
    for (int i = 0; i < graph->n_outputs; i++)
        if (graph->outputs[i] == from)
            graph->outputs[i] = to;
}

void qd_graph_keep_nodes(struct qd_graph *graph, const bool *keep)
{
    int n_kept = 0;

    for (int n = 0; n < graph->n_nodes; n++)
        if (keep[n])
            graph->nodes[n_kept++] = graph->nodes[n];
    graph->n_nodes = n_kept;
    /* Cannot fail: fewer nodes than before, and each value had one producer. */
    (void)set_producers(graph, NULL);
}

enum qd_status qd_graph_dump(const struct qd_graph *graph, struct qd_buf *out, struct qd_error *err)
{
    enum qd_status status = QD_OK;

    for (int n = 0; n < graph->n_nodes && status == QD_OK; n++) {
        const struct qd_node *node = &graph->nodes[n];
        char from[QD_SHAPE_TEXT_SIZE] = "", to[QD_SHAPE_TEXT_SIZE] = "";

        if (node->n_inputs && node->inputs[0] != QD_NO_VALUE)
            qd_shape_text(&graph->values[node->inputs[0]].shape, from);
        qd_shape_text(&graph->values[node->outputs[0]].shape, to);
        status = qd_buf_printf(out, err, "%s %s %s -> %s%s%s%s\n", node->name, node->op_name, from, to,
                               node->residual >= 0 ? " +residual" : "", node->act.kind == QD_ACT_NONE ? "" : " +",
                               qd_activation_name(&node->act));
    }
    return status;
}

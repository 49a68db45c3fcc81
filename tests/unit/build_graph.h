/* Small graphs for tests, node by node: begin, constants and nodes, end. One at a time, in `graph`. */
#ifndef QD_TESTS_BUILD_GRAPH_H
#define QD_TESTS_BUILD_GRAPH_H

#include <math.h>
#include <stdio.h>

#include "engine/plan.h"
#include "op/op.h"
#include "tests/unit/unit.h"

static struct qd_graph *graph;
static struct qd_error err;

static inline struct qd_shape shape4(int64_t c, int64_t h, int64_t w)
{
    return (struct qd_shape){.n_dims = 4, .dims = {1, c, h, w}};
}

static inline void begin(struct qd_shape shape)
{
    int x;

    graph = qd_graph_new();
    ck_assert_ok(qd_graph_add_value(graph, "x", &x, &err), &err);
    graph->values[x].has_shape = true;
    graph->values[x].shape = shape;
    graph->values[x].dtype = QD_F32;
    graph->inputs = qd_alloc_array(1, sizeof(int));
    graph->outputs = qd_alloc_array(1, sizeof(int));
    graph->inputs[0] = graph->pixels = x;
    graph->n_inputs = 1;
}

static uint32_t state = 1;

static inline float random_float(void)
{
    state = state * 1664525 + 1013904223;
    return (float)(state >> 8) / (float)(1 << 24) - 0.5f;
}

static inline int constant(const char *name, struct qd_shape shape, float scale)
{
    int index;
    void *data;

    ck_assert_ok(qd_graph_add_constant(graph, name, QD_F32, &shape, NULL, &index, &data, &err), &err);
    for (int64_t i = 0; i < qd_shape_count(&shape); i++)
        ((float *)data)[i] = random_float() * scale;
    return index;
}

static inline int integers(const char *name, int n, const int64_t *values)
{
    struct qd_shape shape = {.n_dims = 1, .dims = {n}};
    int index;

    ck_assert_ok(qd_graph_add_constant(graph, name, QD_I64, &shape, values, &index, NULL, &err), &err);
    return index;
}

/* A node of the operator with these inputs; its output's name is `out`. attrs may be NULL. */
static inline int node(const char *op_name, const char *out, const int *inputs, int n_inputs, struct qd_attr *attrs,
                       int n_attrs)
{
    const struct qd_op *op = qd_op_find(op_name);
    struct qd_node *made;
    int y;

    ck_assert_ptr_nonnull(op);
    ck_assert_ok(qd_graph_add_value(graph, out, &y, &err), &err);
    ck_assert_ok(qd_graph_add_node(graph, out, op_name, op, inputs, n_inputs, &y, 1, &made, &err), &err);
    made->opset = 13;
    made->attrs = attrs;
    made->n_attrs = n_attrs;
    ck_assert_ok(op->parse ? op->parse(graph, made, &err) : QD_OK, &err);
    ck_assert_ok(op->infer(graph, made, &err), &err);
    return y;
}

static inline int node1(const char *op_name, const char *out, int input)
{
    return node(op_name, out, &input, 1, NULL, 0);
}

static inline struct qd_attr ints(const char *name, int n, const int64_t *values)
{
    return (struct qd_attr){.name = name, .kind = QD_ATTR_INTS, .ints = values, .n = n};
}

static inline struct qd_attr one(const char *name, int64_t value)
{
    return (struct qd_attr){.name = name, .kind = QD_ATTR_INT, .i = value};
}

static inline void end(int y)
{
    graph->outputs[0] = y;
    graph->n_outputs = 1;
    ck_assert_ok(qd_graph_sort(graph, &err), &err);
    ck_assert_ok(qd_graph_verify(graph, &err), &err);
}

/*
 * Scales as minmax would choose, from n images of a float run that kept all. What an operator wants to share one scale
 * gets one for the whole range, and so does a Requantize, which is a name then.
 */
static inline void scales_from(const struct qd_frame *f32, int n_images)
{
    size_t n = (size_t)graph->n_values;
    float *low = qd_alloc_array(n, sizeof(float)), *high = qd_alloc_array(n, sizeof(float));

    for (int v = 0; v < graph->n_values; v++) {
        high[v] = 1e-6f;
        for (int image = 0; image < n_images && graph->values[v].producer >= 0; image++) {
            const float *x = qd_frame_value_f32(f32, v, image);

            for (int64_t i = 0; i < qd_shape_count(&graph->values[v].shape); i++) {
                low[v] = fminf(low[v], x[i]);
                high[v] = fmaxf(high[v], x[i]);
            }
        }
    }
    for (int turn = 0; turn < graph->n_nodes * graph->n_nodes; turn++) {
        const struct qd_node *shared = &graph->nodes[turn % graph->n_nodes];
        int all = shared->outputs[0];

        if (!(shared->op->flags & QD_OP_SAME_SCALE) && shared->op != &qd_op_requantize)
            continue;
        for (int i = 0; i < shared->n_inputs + shared->n_outputs; i++) {
            int v = i < shared->n_inputs ? shared->inputs[i] : shared->outputs[i - shared->n_inputs];

            if (graph->values[v].producer < 0)
                continue;
            low[all] = low[v] = fminf(low[all], low[v]);
            high[all] = high[v] = fmaxf(high[all], high[v]);
        }
    }
    for (int v = 0; v < graph->n_values; v++) {
        float scale = (high[v] - low[v]) / 255;

        if (graph->values[v].producer >= 0)
            graph->values[v].q = (struct qd_qparams){scale, (int)rintf(-low[v] / scale), 8};
    }
    qd_free(low);
    qd_free(high);
}

/* A 1x1 convolution of c channels to as many. */
static inline int conv_1x1(const char *name, int x, int64_t c, int64_t group)
{
    char text[32];
    struct qd_attr groups = one("group", group);
    struct qd_shape weights = {.n_dims = 4, .dims = {c, c / group, 1, 1}};
    int inputs[2] = {x};

    snprintf(text, sizeof(text), "%s_w", name);
    inputs[1] = constant(text, weights, 1);
    return node("Conv", name, inputs, 2, &groups, 1);
}

#endif

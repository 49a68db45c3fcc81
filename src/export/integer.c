#include "export/integer.h"

#include <math.h>

#include "export/internal.h"
#include "op/elementwise.h"

/* The first that takes a node has it. */
static const struct qd_integer_kind *const kinds[] = {
    &qd_integer_layer, &qd_integer_max_pool, &qd_integer_average_pool, &qd_integer_add,
    &qd_integer_mul,   &qd_integer_line,     &qd_integer_table,        &qd_integer_copy,
};

void qd_integer_pixels(const struct qd_value *value, int64_t *ret_pixels, int *ret_c)
{
    *ret_c = (int)qd_value_channels(value);
    *ret_pixels = *ret_c ? qd_shape_count(&value->shape) / *ret_c : 0;
}

int64_t qd_integer_stored(const struct qd_value *value, int64_t i)
{
    const struct qd_shape *shape = &value->shape;
    int64_t plane;

    if (!qd_value_is_picture(value))
        return i;
    plane = shape->dims[2] * shape->dims[3];
    return i % plane * shape->dims[1] + i / plane;
}

bool qd_integer_is_table(const struct qd_graph *graph, const struct qd_node *node)
{
    return node->op->run_q8 == qd_q8_table_run ||
           (node->op->run_q8 == qd_elementwise_run_q8 && qd_elementwise_is_table(graph, node));
}

/* Inputs and outputs in the node's order; a function of one byte is asked about 256 of them, whatever its shapes. */
enum qd_status qd_integer_probe(const struct qd_integer_build *build, const struct qd_node *node, float *const *in,
                                float *const *out, struct qd_error *err)
{
    static const struct qd_shape bytes = {.n_dims = 1, .dims = {256}};
    const struct qd_graph *graph = build->graph;
    bool is_table = qd_integer_is_table(graph, node);
    struct qd_arena scratch = {0};
    struct qd_view *views =
        qd_arena_array(&scratch, (size_t)(node->n_inputs + node->n_outputs), sizeof(struct qd_view));
    struct qd_f32_run run = {.kernels = build->kernels};
    struct qd_node plain = *node;

    run.scratch = qd_arena_alloc(&scratch, node->op->scratch_f32 ? node->op->scratch_f32(graph, node) : 1);
    if (!views || !run.scratch) {
        qd_arena_done(&scratch);
        return qd_integer_no_memory(err);
    }
    plain.act = (struct qd_activation){.kind = QD_ACT_NONE};
    for (int i = 0; i < node->n_inputs; i++) {
        const struct qd_value *value = qd_node_input(graph, node, i);

        if (value)
            views[i] = (struct qd_view){value->dtype, is_table && !value->data ? &bytes : &value->shape,
                                        value->data ? (void *)(uintptr_t)value->data : (void *)*in++};
    }
    for (int i = 0; i < node->n_outputs; i++) {
        const struct qd_value *value = qd_node_output(graph, node, i);

        if (value)
            views[node->n_inputs + i] = (struct qd_view){QD_F32, is_table ? &bytes : &value->shape, out[i]};
    }
    node->op->run_f32(&plain, views, views + node->n_inputs, &run);
    qd_arena_done(&scratch);
    return QD_OK;
}

/* While a model is being made. */
struct builder {
    struct qd_integer_build build;
    struct qd_integer_model *model;
    bool *int8;           /* by node */
    const char **why_f32; /* by node */
    bool *by_q8;          /* by value: read by a step */
    bool *made;           /* by value: by a step, or the picture */
};

/* A node without a step of the plan's has its output made in place, in int8. */
static void read_plan(struct builder *b, const struct qd_plan *plan)
{
    const struct qd_graph *graph = b->build.graph;

    for (int n = 0; n < graph->n_nodes; n++)
        b->int8[n] = true;
    for (int i = 0; i < qd_plan_n_steps(plan); i++) {
        struct qd_step_info info;

        qd_plan_step(plan, i, &info);
        if (!info.node)
            continue;
        b->int8[info.node - graph->nodes] = info.kind == QD_STEP_Q8;
        b->why_f32[info.node - graph->nodes] = info.why_f32;
    }
    for (int n = 0; n < graph->n_nodes; n++)
        for (int i = 0; i < graph->nodes[n].n_inputs && b->int8[n]; i++)
            if (graph->nodes[n].inputs[i] != QD_NO_VALUE)
                b->by_q8[graph->nodes[n].inputs[i]] = true;
}

/* The node's activations; QD_UNSUPPORTED: one that no step makes. */
static enum qd_status set_inputs(struct builder *b, struct qd_integer_step *step, struct qd_error *err)
{
    const struct qd_graph *graph = b->build.graph;
    const struct qd_node *node = step->node;
    int *inputs = qd_arena_array(b->build.arena, (size_t)node->n_inputs + 1, sizeof(int));

    if (!inputs)
        return qd_integer_no_memory(err);
    step->inputs = inputs;
    for (int i = 0; i < node->n_inputs; i++) {
        int v = node->inputs[i];

        if (v == QD_NO_VALUE || graph->values[v].data)
            continue;
        if (!b->made[v]) {
            const struct qd_node *maker = &graph->nodes[graph->values[v].producer];
            const char *why = b->why_f32[graph->values[v].producer];

            return qd_error_set(
                err, QD_UNSUPPORTED,
                "node '%.60s' (%s) runs in float (%s) in front of '%.60s': expected integers up to there", maker->name,
                maker->op->name, why ? why : "asked for", node->name);
        }
        inputs[step->n_inputs++] = v;
    }
    return QD_OK;
}

static enum qd_status add_step(struct builder *b, const struct qd_node *node, int output, struct qd_error *err)
{
    const struct qd_graph *graph = b->build.graph;
    struct qd_integer_step *step = &b->model->steps[b->model->n_steps];
    size_t k = 0;
    enum qd_status status;

    *step = (struct qd_integer_step){.node = node, .output = output};
    /* As plans decide it: floats leave where all readers take floats. */
    step->accumulators = (node->op->flags & QD_OP_F32_OUTPUT) && !b->by_q8[output] && node->act.kind == QD_ACT_NONE &&
                         node->residual < 0;
    while (k < QD_ARRAY_SIZE(kinds) && !kinds[k]->takes(graph, node))
        k++;
    if (k == QD_ARRAY_SIZE(kinds))
        return qd_error_set(err, QD_UNSUPPORTED, "node '%.80s': %s has no integer form", node->name, node->op->name);
    step->kind = kinds[k];
    status = set_inputs(b, step, err);
    if (status != QD_OK)
        return status;
    status = step->kind->make(&b->build, step, err);
    if (status != QD_OK)
        return qd_error_context(err, status, "node '%.80s'", node->name);
    b->made[output] = true;
    b->model->n_steps++;
    return QD_OK;
}

static enum qd_status add_nodes(struct builder *b, struct qd_error *err)
{
    const struct qd_graph *graph = b->build.graph;
    struct qd_integer_model *model = b->model;
    enum qd_status status = QD_OK;

    for (int n = 0; n < graph->n_nodes && status == QD_OK; n++) {
        const struct qd_node *node = &graph->nodes[n];

        if (!b->int8[n])
            model->skipped[model->n_skipped++] =
                (struct qd_integer_skipped){node, b->why_f32[n] ? b->why_f32[n] : "asked for"};
        for (int i = 0; i < node->n_outputs && b->int8[n] && status == QD_OK; i++)
            if (node->outputs[i] != QD_NO_VALUE)
                status = add_step(b, node, node->outputs[i], err);
    }
    for (int i = 0; i < model->n_steps; i++)
        if (!b->by_q8[model->steps[i].output] || qd_graph_is_output(graph, model->steps[i].output))
            model->outputs[model->n_outputs++] = model->steps[i].output;
    if (status == QD_OK && !model->n_steps)
        status = qd_error_set(err, QD_UNSUPPORTED, "expected nodes that run in int8, found none");
    return status;
}

static enum qd_status build_model(struct builder *b, const struct qd_plan *plan, struct qd_error *err)
{
    const struct qd_graph *graph = b->build.graph;
    struct qd_integer_model *model = b->model;
    struct qd_arena scratch = {0};
    size_t n_nodes = (size_t)graph->n_nodes + 1, n_values = (size_t)graph->n_values + 1;
    enum qd_status status = QD_OK;

    b->int8 = qd_arena_array(&scratch, n_nodes, sizeof(bool));
    b->why_f32 = qd_arena_array(&scratch, n_nodes, sizeof(*b->why_f32));
    b->by_q8 = qd_arena_array(&scratch, n_values, sizeof(bool));
    b->made = qd_arena_array(&scratch, n_values, sizeof(bool));
    model->steps = qd_arena_array(&model->arena, n_values, sizeof(*model->steps));
    model->skipped = qd_arena_array(&model->arena, n_nodes, sizeof(*model->skipped));
    model->outputs = qd_arena_array(&model->arena, n_values, sizeof(int));
    if (!b->int8 || !b->why_f32 || !b->by_q8 || !b->made || !model->steps || !model->skipped || !model->outputs)
        status = qd_integer_no_memory(err);
    if (status == QD_OK) {
        read_plan(b, plan);
        b->made[graph->pixels] = true;
        status = add_nodes(b, err);
    }
    qd_arena_done(&scratch);
    return status;
}

enum qd_status qd_integer_model_new(const struct qd_plan *plan, struct qd_integer_model **ret, struct qd_error *err)
{
    struct qd_integer_model *model = qd_alloc(sizeof(*model));
    const struct qd_graph *graph = qd_plan_graph(plan);
    struct builder b = {.model = model};
    enum qd_status status;

    if (!model)
        return qd_integer_no_memory(err);
    model->graph = graph;
    model->multiplier_bits = graph->multiplier_bits ? graph->multiplier_bits : 24;
    b.build = (struct qd_integer_build){graph, qd_plan_kernels(plan), &model->arena, model->multiplier_bits};
    status = build_model(&b, plan, err);
    if (status != QD_OK) {
        qd_integer_model_free(model);
        return status;
    }
    *ret = model;
    return QD_OK;
}

void qd_integer_model_free(struct qd_integer_model *model)
{
    if (!model)
        return;
    qd_arena_done(&model->arena);
    qd_free(model);
}

size_t qd_integer_output_size(const struct qd_graph *graph, const struct qd_integer_step *step)
{
    return (size_t)qd_shape_count(&graph->values[step->output].shape) * (step->accumulators ? sizeof(int32_t) : 1);
}

void qd_integer_step_run(const struct qd_graph *graph, const struct qd_integer_step *step, void *const *values)
{
    step->kind->run(graph, step, values);
}

void qd_integer_model_run(const struct qd_integer_model *model, void *const *values)
{
    for (int i = 0; i < model->n_steps; i++)
        qd_integer_step_run(model->graph, &model->steps[i], values);
}

int64_t qd_integer_class(const struct qd_graph *graph, const struct qd_integer_step *step, const void *output)
{
    const struct qd_value *value = &graph->values[step->output];
    int64_t n = qd_shape_count(&value->shape), best = 0, pixels;
    double largest = -INFINITY;
    int c;

    qd_integer_pixels(value, &pixels, &c);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = qd_integer_stored(value, i);
        double x = step->accumulators ? ((const int32_t *)output)[at] * step->kind->scale(step, (int)(at % c))
                                      : ((const uint8_t *)output)[at];

        best = x > largest ? i : best;
        largest = x > largest ? x : largest;
    }
    return best;
}

#include "engine/plan.h"

#include <stdio.h>
#include <string.h>

#include "engine/internal.h"
#include "op/q8.h"

/* While a plan is being made: what each node and value will be. */
struct builder {
    struct qd_plan *plan;
    const struct qd_graph *graph;
    bool *node_q8;
    const char **refused; /* why layout or prepare said no: f32, whatever supports_q8 says */
    const char *why;      /* of the last refusal */
    const char **why_f32;
    bool *output_f32;
    unsigned *takes_blocks;
    bool *has[QD_N_FORMS]; /* forms that exist so far, by value */
    bool *by_q8, *by_f32;  /* readers of a value */
};

static bool is_activation(const struct qd_graph *graph, int value)
{
    return value != QD_NO_VALUE && !graph->values[value].data;
}

/* Bytes of rank 4 lie as one picture; a Transpose or Reshape can make several of it. */
static bool is_several_pictures(const struct qd_graph *graph, int value)
{
    return qd_value_is_picture(&graph->values[value]) && graph->values[value].shape.dims[0] != 1;
}

/* NULL when the node can run quantized, else the reason why not. */
static const char *why_not_q8(const struct builder *b, int n)
{
    const struct qd_graph *graph = b->graph;
    const struct qd_node *node = &graph->nodes[n];
    const char *why;

    if (b->plan->options.precision == QD_PRECISION_F32)
        return "the plan is fp32";
    if (node->precision == QD_PRECISION_F32)
        return node->why_f32 ? node->why_f32 : "asked for";
    if (!node->op->supports_q8 || !node->op->prepare_q8)
        return "the operator has no int8 form";
    if (b->refused[n])
        return b->refused[n];
    for (int i = 0; i < node->n_inputs; i++)
        if (is_activation(graph, node->inputs[i]) && is_several_pictures(graph, node->inputs[i]))
            return "an input is several pictures";
    for (int i = 0; i < node->n_outputs; i++)
        if (node->outputs[i] != QD_NO_VALUE && is_several_pictures(graph, node->outputs[i]))
            return "an output is several pictures";
    why = qd_why_not_scales(graph, node);
    if (why)
        return why;
    if (!node->op->supports_q8(graph, node))
        return "no int8 form for these shapes or attributes";
    return NULL;
}

/* True when every reader of the value takes floats. */
static bool read_as_f32_only(const struct builder *b, int value)
{
    return !b->by_q8[value];
}

/* Whether the node does nothing to floats: where the model gives the second of two scales, it rounds to that. */
static bool only_copies(const struct qd_graph *graph, const struct qd_node *node)
{
    return (node->op->flags & QD_OP_COPY) &&
           ((node->op->flags & QD_OP_SAME_SCALE) || !graph->values[node->outputs[0]].given);
}

/*
 * From the last node to the first: a node that can be int8 becomes f32 all the same where it only copies for float
 * readers (the classifier's Flatten), and an int8 node leaves floats where all its readers want them.
 */
static void decide_precisions(struct builder *b)
{
    const struct qd_graph *graph = b->graph;

    for (int i = 0; i < graph->n_outputs; i++)
        b->by_f32[graph->outputs[i]] = true;
    for (int n = graph->n_nodes - 1; n >= 0; n--) {
        const struct qd_node *node = &graph->nodes[n];
        int out = node->outputs[0];

        b->why_f32[n] = why_not_q8(b, n);
        if (!b->why_f32[n] && only_copies(graph, node) && read_as_f32_only(b, out))
            b->why_f32[n] = "its readers take floats";
        b->node_q8[n] = !b->why_f32[n];
        b->output_f32[n] = b->node_q8[n] && (node->op->flags & QD_OP_F32_OUTPUT) && read_as_f32_only(b, out) &&
                           !graph->values[out].given && node->act.kind == QD_ACT_NONE && node->residual < 0;
        for (int i = 0; i < node->n_inputs; i++) {
            if (!is_activation(graph, node->inputs[i]))
                continue;
            if (b->node_q8[n])
                b->by_q8[node->inputs[i]] = true;
            else
                b->by_f32[node->inputs[i]] = true;
        }
    }
}

static void touch(struct builder *b, enum qd_form form, int value, int step)
{
    struct qd_plan *plan = b->plan;
    struct qd_place *place = &plan->places[form][value], *whole;

    place->used = true;
    if (form == QD_FORM_F32 && !place->steps.image) {
        const struct qd_shape *shape = &b->graph->values[value].shape;
        size_t count = plan->in_blocks[value] ? qd_blocks_count(shape) : (size_t)qd_shape_count(shape);
        size_t bytes = count * qd_dtype_size(b->graph->values[value].dtype);

        place->steps.image = (ptrdiff_t)((bytes + QD_ALIGNMENT - 1) / QD_ALIGNMENT * QD_ALIGNMENT);
    }
    whole = qd_place_whole(place);
    if (!whole->touched) {
        whole->used = whole->touched = true;
        whole->first_step = step;
    }
    if (step > whole->last_step)
        whole->last_step = step;
}

static struct qd_step *add_step(struct builder *b, enum qd_step_kind kind, int node, int value)
{
    struct qd_step *step = &b->plan->steps[b->plan->n_steps++];

    step->kind = kind;
    step->node = node;
    step->value = value;
    return step;
}

static enum qd_step_kind kind_of_conversion(const struct builder *b, enum qd_form to, int value)
{
    if (to == QD_FORM_PADDED)
        return QD_STEP_PAD;
    if (to == QD_FORM_Q8)
        return QD_STEP_QUANTIZE;
    return value == b->graph->pixels ? QD_STEP_PIXELS : QD_STEP_DEQUANTIZE;
}

/* Makes sure that the form exists before the next step, and that it lives until then. */
static void need(struct builder *b, enum qd_form form, int value)
{
    const struct qd_graph *graph = b->graph;
    struct qd_plan *plan = b->plan;

    if (form == QD_FORM_PADDED)
        need(b, QD_FORM_Q8, value);
    if (!b->has[form][value]) {
        struct qd_step *step = add_step(b, kind_of_conversion(b, form, value), -1, value);

        step->scratch_size = (size_t)qd_shape_count(&graph->values[value].shape) + QD_KERNEL_SLACK;
        touch(b, form, value, plan->n_steps - 1);
        touch(b, form == QD_FORM_Q8 ? QD_FORM_F32 : QD_FORM_Q8, value, plan->n_steps - 1);
        b->has[form][value] = true;
    }
    touch(b, form, value, plan->n_steps);
}

/* The form in which a node reads its input i. */
static enum qd_form input_form(const struct builder *b, int n, int i)
{
    int value = b->graph->nodes[n].inputs[i];

    if (!b->node_q8[n])
        return QD_FORM_F32;
    return i == 0 && b->graph->nodes[n].op->padding_q8 && b->plan->places[QD_FORM_PADDED][value].pad_bytes
               ? QD_FORM_PADDED
               : QD_FORM_Q8;
}

static enum qd_status add_node_step(struct builder *b, int n, int *ret_refused, struct qd_error *err)
{
    const struct qd_graph *graph = b->graph;
    const struct qd_node *node = &graph->nodes[n];
    struct qd_plan *plan = b->plan;
    struct qd_step *step;
    enum qd_status status;
    int at;

    if (plan->joined[n]) {
        for (int i = 0; i < node->n_inputs; i++)
            if (is_activation(graph, node->inputs[i]) && !b->has[QD_FORM_Q8][node->inputs[i]])
                need(b, QD_FORM_Q8, node->inputs[i]);
        b->has[QD_FORM_Q8][node->outputs[0]] = true;
        touch(b, QD_FORM_Q8, node->outputs[0], plan->n_steps - 1);
        return QD_OK;
    }
    for (int i = 0; i < node->n_inputs; i++)
        if (is_activation(graph, node->inputs[i]))
            need(b, input_form(b, n, i), node->inputs[i]);
    /* A conversion for a later input moves the step on: the earlier inputs must live until then too. */
    at = plan->n_steps;
    for (int i = 0; i < node->n_inputs; i++)
        if (is_activation(graph, node->inputs[i]))
            touch(b, input_form(b, n, i), node->inputs[i], at);
    step = add_step(b, b->node_q8[n] ? QD_STEP_Q8 : QD_STEP_F32, n, node->outputs[0]);
    step->output_f32 = b->output_f32[n];
    step->why_f32 = b->why_f32[n];
    step->padded_input =
        node->n_inputs && is_activation(graph, node->inputs[0]) && input_form(b, n, 0) == QD_FORM_PADDED;
    for (int i = 0; i < node->n_outputs; i++) {
        enum qd_form form = b->node_q8[n] && !(i == 0 && b->output_f32[n]) ? QD_FORM_Q8 : QD_FORM_F32;

        if (node->outputs[i] == QD_NO_VALUE)
            continue;
        touch(b, form, node->outputs[i], at);
        b->has[form][node->outputs[i]] = true;
    }
    if (node->n_inputs + node->n_outputs > plan->max_views)
        plan->max_views = node->n_inputs + node->n_outputs;
    if (!b->node_q8[n])
        return qd_blocks_prepare(plan, step, b->takes_blocks[n], err);
    status = qd_step_prepare(plan, step, plan->options.in_order ? &step->arena : &plan->arena, err);
    if (status == QD_UNSUPPORTED) {
        *ret_refused = n;
        b->why = "scales out of range";
    }
    return status;
}

/* Padding is written in the step in which the memory around it is first written. */
static enum qd_status plan_padding(struct qd_plan *plan, struct qd_error *err)
{
    for (int pass = 0; pass < 2; pass++) {
        for (int form = 0; form < QD_N_FORMS; form++) {
            for (int v = 0; v < plan->graph->n_values; v++) {
                struct qd_place *place = &plan->places[form][v];
                struct qd_step *step = &plan->steps[place->first_step];

                if (!place->used || place->whole || !place->pad_bytes)
                    continue;
                if (pass)
                    step->to_pad[step->n_to_pad] = place;
                step->n_to_pad++;
            }
        }
        for (int s = 0; s < plan->n_steps && !pass; s++) {
            struct qd_step *step = &plan->steps[s];

            step->to_pad = qd_arena_array(&plan->arena, (size_t)step->n_to_pad + 1, sizeof(*step->to_pad));
            if (!step->to_pad)
                return qd_error_set(err, QD_NO_MEMORY, "no memory for the plan");
            step->n_to_pad = 0;
        }
    }
    return QD_OK;
}

static enum qd_status add_steps(struct builder *b, int *ret_refused, struct qd_error *err)
{
    const struct qd_graph *graph = b->graph;
    struct qd_plan *plan = b->plan;
    enum qd_status status;

    for (int i = 0; i < graph->n_inputs; i++) {
        enum qd_form form = graph->inputs[i] == graph->pixels ? QD_FORM_Q8 : QD_FORM_F32;

        touch(b, form, graph->inputs[i], 0);
        b->has[form][graph->inputs[i]] = true;
    }
    for (int n = 0; n < graph->n_nodes; n++) {
        status = add_node_step(b, n, ret_refused, err);
        if (status != QD_OK)
            return status;
    }
    for (int i = 0; i < graph->n_outputs; i++)
        if (is_activation(graph, graph->outputs[i]))
            need(b, QD_FORM_F32, graph->outputs[i]);
    /* All outputs live to the end: past the conversions that the others needed. What a last Softmax reads, too. */
    for (int i = 0; i < graph->n_outputs; i++)
        if (is_activation(graph, graph->outputs[i])) {
            touch(b, QD_FORM_F32, graph->outputs[i], plan->n_steps);
            touch(b, QD_FORM_F32, qd_logits_value(graph, i), plan->n_steps);
        }
    status = plan_padding(plan, err);
    if (status != QD_OK)
        return status;
    for (int form = 0; form < QD_N_FORMS; form++)
        for (int v = 0; v < graph->n_values; v++)
            if (plan->places[form][v].used && plan->options.keep_all) {
                plan->places[form][v].first_step = 0;
                plan->places[form][v].last_step = plan->n_steps;
            }
    for (int s = 0; s < plan->n_steps; s++)
        if (plan->steps[s].scratch_size > plan->scratch_size)
            plan->scratch_size = plan->steps[s].scratch_size;
    plan->scratch_size = (plan->scratch_size + QD_ALIGNMENT - 1) / QD_ALIGNMENT * QD_ALIGNMENT;
    return QD_OK;
}

int qd_logits_value(const struct qd_graph *graph, int output)
{
    int value = graph->outputs[output], producer = graph->values[value].producer;

    return producer >= 0 && graph->nodes[producer].op == &qd_op_softmax ? graph->nodes[producer].inputs[0] : value;
}

static enum qd_status no_memory(struct qd_error *err)
{
    return qd_error_set(err, QD_NO_MEMORY, "no memory for the plan");
}

/* One try; *ret_refused >= 0 when a node's prepare refused its scales and the plan must be made without it. */
static enum qd_status build(struct builder *b, int *ret_refused, struct qd_error *err)
{
    const struct qd_graph *graph = b->graph;
    struct qd_plan *plan = b->plan;
    struct qd_arena scratch = {0};
    size_t n_values = (size_t)graph->n_values + 1, n_nodes = (size_t)graph->n_nodes + 1;
    enum qd_status status;
    bool complete;

    b->node_q8 = qd_arena_array(&scratch, n_nodes, sizeof(bool));
    b->why_f32 = qd_arena_array(&scratch, n_nodes, sizeof(*b->why_f32));
    b->output_f32 = qd_arena_array(&scratch, n_nodes, sizeof(bool));
    b->by_q8 = qd_arena_array(&scratch, n_values, sizeof(bool));
    b->by_f32 = qd_arena_array(&scratch, n_values, sizeof(bool));
    b->takes_blocks = qd_arena_array(&scratch, n_nodes, sizeof(*b->takes_blocks));
    plan->joined = qd_arena_array(&plan->arena, n_nodes, sizeof(bool));
    plan->in_blocks = qd_arena_array(&plan->arena, n_values, sizeof(bool));
    /* At most one conversion to each form of each value besides the nodes. */
    plan->steps = qd_arena_array(&plan->arena, n_nodes + QD_N_FORMS * n_values, sizeof(struct qd_step));
    complete = b->node_q8 && b->why_f32 && b->output_f32 && b->by_q8 && b->by_f32 && b->takes_blocks && plan->joined &&
               plan->in_blocks && plan->steps;
    for (int form = 0; form < QD_N_FORMS; form++) {
        b->has[form] = qd_arena_array(&scratch, n_values, sizeof(bool));
        plan->places[form] = qd_arena_array(&plan->arena, n_values, sizeof(struct qd_place));
        complete = complete && b->has[form] && plan->places[form];
    }
    if (!complete) {
        status = no_memory(err);
    } else {
        decide_precisions(b);
        qd_blocks_plan(plan, b->takes_blocks);
        status = qd_layout_plan(plan, b->node_q8, ret_refused, &b->why, err);
        if (status == QD_OK)
            status = add_steps(b, ret_refused, err);
        if (status == QD_OK)
            status = qd_places_plan(plan, err);
    }
    qd_arena_done(&scratch);
    return status;
}

enum qd_status qd_plan_new(const struct qd_graph *graph, const struct qd_plan_options *options, struct qd_plan **ret,
                           struct qd_error *err)
{
    struct builder b = {.graph = graph};
    struct qd_plan *plan;
    enum qd_status status;
    int refused;

    b.refused = qd_alloc_array((size_t)graph->n_nodes + 1, sizeof(*b.refused));
    if (!b.refused)
        return no_memory(err);
    do {
        struct qd_error why = {""};

        plan = qd_alloc(sizeof(*plan));
        if (!plan) {
            qd_free(b.refused);
            return no_memory(err);
        }
        plan->graph = graph;
        plan->options = *options;
        b.plan = plan;
        refused = -1;
        status = build(&b, &refused, &why);
        if (status != QD_OK) {
            qd_plan_free(plan);
            if (refused >= 0)
                b.refused[refused] = b.why;
            else
                qd_error_set(err, status, "%s", why.text);
        }
    } while (status != QD_OK && refused >= 0);
    for (int n = 0; n < graph->n_nodes && status == QD_OK; n++)
        plan->n_refused += b.refused[n] != NULL;
    qd_free(b.refused);
    if (status == QD_OK)
        *ret = plan;
    return status;
}

int qd_plan_n_refused(const struct qd_plan *plan)
{
    return plan->n_refused;
}

void qd_plan_free(struct qd_plan *plan)
{
    if (!plan)
        return;
    for (int i = 0; i < plan->n_steps; i++)
        qd_arena_done(&plan->steps[i].arena);
    qd_arena_done(&plan->arena);
    qd_free(plan);
}

int qd_plan_n_steps(const struct qd_plan *plan)
{
    return plan->n_steps;
}

void qd_plan_step(const struct qd_plan *plan, int i, struct qd_step_info *ret)
{
    const struct qd_step *step = &plan->steps[i];
    const struct qd_node *node = step->node >= 0 ? &plan->graph->nodes[step->node] : NULL;

    ret->kind = step->kind;
    ret->node = node;
    ret->value = step->value;
    ret->name = node ? node->name : plan->graph->values[step->value].name;
    ret->macs = node && node->op->macs ? node->op->macs(plan->graph, node) : 0;
    ret->why_f32 = step->why_f32;
}

const char *qd_step_kind_name(enum qd_step_kind kind)
{
    static const char *const names[] = {"int8", "fp32", "quantize", "dequantize", "pixels to float", "pad"};

    return names[kind];
}

bool qd_plan_has_q8(const struct qd_plan *plan, int value)
{
    return plan->places[QD_FORM_Q8][value].used;
}

const struct qd_graph *qd_plan_graph(const struct qd_plan *plan)
{
    return plan->graph;
}

const struct qd_kernels *qd_plan_kernels(const struct qd_plan *plan)
{
    return plan->options.kernels;
}

int qd_plan_max_batch(const struct qd_plan *plan)
{
    return plan->options.max_batch;
}

size_t qd_plan_memory_bytes(const struct qd_plan *plan)
{
    size_t bytes = plan->arena.used_bytes;

    for (int i = 0; i < plan->n_steps; i++)
        bytes += plan->steps[i].arena.used_bytes;
    return bytes;
}

size_t qd_plan_frame_bytes(const struct qd_plan *plan, int n_threads)
{
    return plan->slab_size + (plan->slot_size + plan->scratch_size) * (size_t)n_threads;
}

int64_t qd_plan_macs(const struct qd_plan *plan, bool only_q8)
{
    int64_t macs = 0;

    for (int i = 0; i < plan->n_steps; i++) {
        struct qd_step_info info;

        qd_plan_step(plan, i, &info);
        if (!only_q8 || info.kind == QD_STEP_Q8)
            macs += info.macs;
    }
    return macs;
}

void qd_plan_input_size(const struct qd_plan *plan, int *ret_h, int *ret_w, int *ret_c)
{
    const struct qd_shape *shape = &plan->graph->values[plan->graph->pixels].shape;

    *ret_c = (int)shape->dims[1];
    *ret_h = (int)shape->dims[2];
    *ret_w = (int)shape->dims[3];
}

int64_t qd_plan_output_count(const struct qd_plan *plan, int output)
{
    return qd_shape_count(&plan->graph->values[plan->graph->outputs[output]].shape);
}

#include "quant/step_classes.h"

#include <math.h>

#include "quant/classes.h"

struct finder {
    const struct qd_graph *graph;
    const struct qd_calibration_form *form;
    int *class_of;  /* by value */
    int *first;     /* by value: its channel 0 among all channels; -1: it can be in no class */
    int *parent;    /* by channel: towards the one that stands for its slot */
    int *n_readers; /* by value: those that gain by steps */
    bool *refused;  /* by value */
    int *slot;      /* by channel that stands for one: its number */
};

/* A curve is a second multiplication per channel, which hardware with narrow multipliers has not. */
static bool activation_allows(const struct qd_activation *act, const struct qd_calibration_form *form)
{
    switch (act->kind) {
    case QD_ACT_NONE:
    case QD_ACT_LEAKY:
    case QD_ACT_HARDSWISH:
        return true;
    case QD_ACT_SILU:
    case QD_ACT_GELU:
    case QD_ACT_MISH:
        return form->multiplier_bits >= 24;
    case QD_ACT_CLIP: /* 0 is the lowest byte of every channel; a bound from above is never passed by the steps chosen
                       */
        return act->min == 0 || isinf(act->min);
    default:
        return false;
    }
}

static int n_channels(const struct finder *f, int v)
{
    return (int)f->graph->values[v].shape.dims[1];
}

static int slot_root(const struct finder *f, int channel)
{
    while (f->parent[channel] != channel)
        channel = f->parent[channel] = f->parent[f->parent[channel]];
    return channel;
}

static void join(const struct finder *f, int a, int b)
{
    a = slot_root(f, a);
    b = slot_root(f, b);
    f->parent[a > b ? a : b] = a > b ? b : a;
}

/* One step for all channels of a value. */
static void make_uniform(const struct finder *f, int v)
{
    for (int c = 1; f->first[v] >= 0 && c < n_channels(f, v); c++)
        join(f, f->first[v], f->first[v] + c);
}

static bool is_tie(const struct qd_node *node)
{
    return qd_node_shares_scale(node) || (node->op == &qd_op_requantize && node->precision == QD_PRECISION_Q8);
}

/* An output of a tie: of its class, and channel by channel of the slots that it comes from. */
static void tie_output(const struct finder *f, const struct qd_node *node, int output)
{
    int out = node->outputs[output];
    bool by_channel = node->op->channel_source && f->first[out] >= 0;

    for (int i = 0; i < node->n_inputs; i++) {
        int in = node->inputs[i];

        if (in == QD_NO_VALUE || f->graph->values[in].data)
            continue;
        qd_classes_join(f->class_of, f->graph->n_values, out, in);
        by_channel = by_channel && f->first[in] >= 0;
    }
    for (int c = 0; by_channel && c < n_channels(f, out); c++) {
        struct qd_channel source;

        by_channel = node->op->channel_source(f->graph, node, output, c, &source) && f->first[source.value] >= 0 &&
                     source.c < n_channels(f, source.value);
        if (by_channel)
            join(f, f->first[out] + c, f->first[source.value] + (int)source.c);
    }
    f->refused[out] = f->refused[out] || !by_channel;
}

/* An operator that computes: what it makes and what it reads. */
static void meet_node(const struct finder *f, const struct qd_node *node)
{
    const struct qd_op *op = node->op;
    bool q8 = node->precision == QD_PRECISION_Q8;
    bool makes_steps = q8 && op->channel_steps && op->channel_steps(f->graph, node, QD_STEPS_OF_OUTPUT);

    for (int i = 0; i < node->n_outputs; i++) {
        int v = node->outputs[i];

        if (v == QD_NO_VALUE)
            continue;
        if (i > 0 || !makes_steps || !activation_allows(&node->act, f->form))
            make_uniform(f, v);
        f->refused[v] = f->refused[v] || (op->flags & QD_OP_FIXED_Q);
    }
    for (int i = 0; i < node->n_inputs; i++) {
        int v = node->inputs[i];

        if (v == QD_NO_VALUE)
            continue;
        if (!q8 || !op->channel_steps || !op->channel_steps(f->graph, node, i) || i == node->residual)
            make_uniform(f, v);
        else /* A mean alone is not worth it: what it reads are often the classes, of which each is seldom large. */
            f->n_readers[v] += op->layer || makes_steps;
    }
}

static enum qd_status make_finder(struct finder *f, struct qd_arena *arena, int *ret_channels, struct qd_error *err)
{
    size_t n = (size_t)f->graph->n_values + 1;
    int total = 0;

    f->class_of = qd_arena_array(arena, n, sizeof(int));
    f->first = qd_arena_array(arena, n, sizeof(int));
    f->n_readers = qd_arena_array(arena, n, sizeof(int));
    f->refused = qd_arena_array(arena, n, sizeof(bool));
    if (!f->class_of || !f->first || !f->n_readers || !f->refused)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for channel steps");
    for (int v = 0; v < f->graph->n_values; v++) {
        const struct qd_value *value = &f->graph->values[v];

        f->class_of[v] = v;
        f->first[v] = -1;
        f->refused[v] = value->given || qd_graph_is_output(f->graph, v);
        if (!qd_is_measured(f->graph, v) || !qd_value_is_picture(value) || value->shape.dims[1] > INT32_MAX - total)
            continue;
        f->first[v] = total;
        total += n_channels(f, v);
    }
    f->parent = qd_arena_array(arena, (size_t)total + 1, sizeof(int));
    f->slot = qd_arena_array(arena, (size_t)total + 1, sizeof(int));
    if (!f->parent || !f->slot)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for channel steps");
    for (int c = 0; c < total; c++) {
        f->parent[c] = c;
        f->slot[c] = -1;
    }
    *ret_channels = total;
    return QD_OK;
}

/* The members of the class that value v stands for; no values where it cannot have steps. */
static enum qd_status fill_class(const struct finder *f, int v, struct qd_arena *arena, struct qd_step_class *ret,
                                 struct qd_error *err)
{
    int n = 0, n_readers = 0;

    *ret = (struct qd_step_class){0};
    for (int w = v; w < f->graph->n_values; w++) {
        if (f->class_of[w] != v)
            continue;
        n++;
        n_readers += f->n_readers[w];
        if (f->first[w] < 0 || f->refused[w])
            return QD_OK;
    }
    if (!n_readers)
        return QD_OK;
    ret->values = qd_arena_array(arena, (size_t)n, sizeof(int));
    ret->slots = qd_arena_array(arena, (size_t)n, sizeof(*ret->slots));
    for (int w = v; ret->values && ret->slots && w < f->graph->n_values; w++) {
        int *slots;

        if (f->class_of[w] != v)
            continue;
        slots = qd_arena_array(arena, (size_t)n_channels(f, w) + 1, sizeof(int));
        if (!slots)
            return qd_error_set(err, QD_NO_MEMORY, "no memory for channel steps");
        for (int c = 0; c < n_channels(f, w); c++) {
            int root = slot_root(f, f->first[w] + c);

            if (f->slot[root] < 0)
                f->slot[root] = ret->n_slots++;
            slots[c] = f->slot[root];
        }
        ret->slots[ret->n_values] = slots;
        ret->values[ret->n_values++] = w;
    }
    return ret->n_values == n ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for channel steps");
}

enum qd_status qd_step_classes_find(const struct qd_graph *graph, const struct qd_calibration_form *form,
                                    struct qd_arena *arena, struct qd_step_class **ret, int *ret_n,
                                    struct qd_error *err)
{
    struct finder f = {.graph = graph, .form = form};
    struct qd_arena scratch = {0};
    int total;
    enum qd_status status = make_finder(&f, &scratch, &total, err);

    *ret_n = 0;
    *ret = qd_arena_array(arena, (size_t)graph->n_values + 1, sizeof(**ret));
    if (status == QD_OK && !*ret)
        status = qd_error_set(err, QD_NO_MEMORY, "no memory for channel steps");
    for (int n = 0; n < graph->n_nodes && status == QD_OK; n++) {
        const struct qd_node *node = &graph->nodes[n];

        for (int i = 0; is_tie(node) && i < node->n_outputs; i++)
            if (node->outputs[i] != QD_NO_VALUE)
                tie_output(&f, node, i);
        if (!is_tie(node))
            meet_node(&f, node);
    }
    for (int v = 0; v < graph->n_values && status == QD_OK; v++) {
        if (f.class_of[v] != v)
            continue;
        status = fill_class(&f, v, arena, &(*ret)[*ret_n], err);
        *ret_n += status == QD_OK && (*ret)[*ret_n].n_slots > 1;
    }
    qd_arena_done(&scratch);
    return status;
}

int qd_step_class_place(const struct qd_step_class *class, int value)
{
    for (int i = 0; i < class->n_values; i++)
        if (class->values[i] == value)
            return i;
    return -1;
}

/* How quantized values lie in a frame: padding around pictures, and concatenations whose parts are made in place. */
#include <string.h>

#include "engine/internal.h"
#include "op/q8.h"

struct layouts {
    const struct qd_graph *graph;
    struct qd_plan *plan;
    const bool *node_q8;
    bool *any_steps; /* by value: its maker and all its quantized readers take any steps */
    int *root;       /* by value: the value that it is another name of, or itself */
    int refused;
    const char *why;
};

static bool is_picture(const struct qd_graph *graph, int value)
{
    return value != QD_NO_VALUE && !graph->values[value].data && qd_value_is_picture(&graph->values[value]);
}

static void find_any_steps(struct layouts *l)
{
    const struct qd_graph *graph = l->graph;

    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];
        bool steps = l->node_q8[n] && (node->op->flags & QD_OP_STEPS);

        for (int i = 0; i < node->n_outputs && steps; i++)
            if (is_picture(graph, node->outputs[i]))
                l->any_steps[node->outputs[i]] = true;
    }
    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];

        for (int i = 0; i < node->n_inputs; i++)
            if (l->node_q8[n] && !(node->op->flags & QD_OP_STEPS) && is_picture(graph, node->inputs[i]))
                l->any_steps[node->inputs[i]] = false;
    }
}

/*
 * A Requantize between equal scales is nothing to do, wherever its input lies: in a concatenation too, whose part is
 * then the input. What reads either has to take how both lie.
 */
static void find_names(struct layouts *l)
{
    const struct qd_graph *graph = l->graph;
    struct qd_place *places = l->plan->places[QD_FORM_Q8];

    for (int v = 0; v < graph->n_values; v++)
        l->root[v] = v;
    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];
        int in = node->inputs[0], out = node->outputs[0];

        if (!l->node_q8[n] || !qd_node_renames(graph, node) || qd_graph_is_input(graph, in))
            continue;
        l->root[out] = l->root[in];
        l->any_steps[l->root[in]] = l->any_steps[l->root[in]] && l->any_steps[out];
        places[out].whole = &places[l->root[in]];
        l->plan->joined[n] = true;
    }
}

static struct qd_place *whole_of(struct qd_place *place)
{
    while (place->whole)
        place = place->whole;
    return place;
}

/* Where the value's channels begin in the whole that it is a part of. */
static int64_t channel_of(const struct qd_place *place)
{
    int64_t channel = 0;

    for (; place->whole; place = place->whole)
        channel += place->channel;
    return channel;
}

/* All inputs are parts of one whole already, side by side: this concatenation is a part of it too. */
static bool is_prefix(struct layouts *l, const struct qd_node *node)
{
    struct qd_place *places = l->plan->places[QD_FORM_Q8], *first = &places[l->root[node->inputs[0]]];

    if (!first->whole || !l->any_steps[node->outputs[0]])
        return false;
    for (int i = 0; i < node->n_inputs; i++) {
        struct qd_place *place = &places[l->root[node->inputs[i]]];

        if (!place->whole || whole_of(place) != whole_of(first) ||
            channel_of(place) != channel_of(first) + node->op->joins_at(l->graph, node, i))
            return false;
    }
    return true;
}

static bool can_join(struct layouts *l, const struct qd_node *node)
{
    for (int i = 0; i < node->n_inputs; i++) {
        int value = l->root[node->inputs[i]];

        if (!is_picture(l->graph, value) || !l->any_steps[value] || node->op->joins_at(l->graph, node, i) < 0)
            return false;
        for (int j = 0; j < i; j++)
            if (l->root[node->inputs[j]] == value)
                return false;
    }
    return is_picture(l->graph, node->outputs[0]);
}

/* From the last concatenation to the first: a large one takes the parts of the small ones before it (DenseNet). */
static void join(struct layouts *l)
{
    struct qd_place *places = l->plan->places[QD_FORM_Q8];

    for (int n = l->graph->n_nodes - 1; n >= 0; n--) {
        const struct qd_node *node = &l->graph->nodes[n];
        struct qd_place *out = &places[node->outputs[0]];
        bool is_free = true;

        if (!l->node_q8[n] || !node->op->joins_at || !can_join(l, node))
            continue;
        for (int i = 0; i < node->n_inputs; i++)
            is_free = is_free && !places[l->root[node->inputs[i]]].whole;
        if (is_free) {
            for (int i = 0; i < node->n_inputs; i++) {
                places[l->root[node->inputs[i]]].whole = out;
                places[l->root[node->inputs[i]]].channel = node->op->joins_at(l->graph, node, i);
            }
        } else if (!out->whole && is_prefix(l, node)) {
            out->whole = whole_of(&places[l->root[node->inputs[0]]]);
            out->channel = channel_of(&places[l->root[node->inputs[0]]]);
        } else {
            continue;
        }
        l->plan->joined[n] = true;
    }
}

/*
 * The output is the input, where that lies in memory by itself and both are contiguous: neither may have padding around
 * it, which goes into a padded copy.
 */
static void rename_values(struct layouts *l)
{
    struct qd_place *places = l->plan->places[QD_FORM_Q8];

    for (int n = 0; n < l->graph->n_nodes; n++) {
        const struct qd_node *node = &l->graph->nodes[n];
        struct qd_place *in = &places[node->inputs[0]], *out = &places[node->outputs[0]];

        if (!l->node_q8[n] || l->plan->joined[n] || !node->op->keeps_bytes || !node->op->keeps_bytes(l->graph, node) ||
            qd_graph_is_input(l->graph, node->inputs[0]) || out->whole || (in->whole && !in->renamed))
            continue;
        out->whole = in;
        out->renamed = true;
        l->any_steps[node->inputs[0]] = l->any_steps[node->outputs[0]] = false;
        l->plan->joined[n] = true;
    }
}

static int larger(int a, int b)
{
    return a > b ? a : b;
}

static bool same_value(const struct qd_q8_padding *a, const struct qd_q8_padding *b, int64_t c)
{
    if (!a->value || !b->value)
        return a->value == b->value;
    return memcmp(a->value, b->value, (size_t)c * sizeof(float)) == 0;
}

/* Padding can lie around the value itself, and around all that it is a part of. */
static bool can_pad(const struct layouts *l, int value)
{
    const struct qd_place *places = l->plan->places[QD_FORM_Q8];

    for (const struct qd_place *place = &places[value]; place; place = place->whole)
        if (!l->any_steps[place - places])
            return false;
    return true;
}

/*
 * Padding is memory of each image, and filled in each run: at most so many bytes, or a few times the picture. Dilated
 * windows on small pictures stay far below; what is above runs in float, which pads without memory.
 */
#define MAX_PADDED_BYTES (INT64_C(16) << 20)
#define MAX_PADDED_TIMES 8

static bool is_too_large(const struct qd_shape *shape, const struct qd_q8_padding *padding)
{
    int64_t row = shape->dims[3] + larger(padding->left, padding->right);
    int64_t rows = shape->dims[2] + padding->top + padding->bottom;
    int64_t limit = MAX_PADDED_TIMES * qd_shape_count(shape);

    limit = limit > MAX_PADDED_BYTES ? limit : MAX_PADDED_BYTES;
    return shape->dims[1] > 0 && row > limit / shape->dims[1] / rows;
}

/* The padding of all readers together: around the value itself, or around a padded copy of it. */
static void collect_padding(struct layouts *l)
{
    const struct qd_graph *graph = l->graph;

    for (int n = 0; n < graph->n_nodes && l->refused < 0; n++) {
        const struct qd_node *node = &graph->nodes[n];
        struct qd_q8_padding padding = {0}, *all;
        int value;

        if (!l->node_q8[n] || !node->op->padding_q8)
            continue;
        value = node->inputs[0];
        if (!is_picture(graph, value))
            continue;
        node->op->padding_q8(graph, node, &padding);
        if (!padding.top && !padding.left && !padding.bottom && !padding.right)
            continue;
        all = can_pad(l, value) ? &whole_of(&l->plan->places[QD_FORM_Q8][value])->padding
                                : &l->plan->places[QD_FORM_PADDED][value].padding;
        if (!all->top && !all->left && !all->bottom && !all->right)
            all->value = padding.value;
        if (!same_value(all, &padding, graph->values[value].shape.dims[1])) {
            l->refused = n;
            l->why = "another convolution pads this input with other values";
        }
        all->top = larger(all->top, padding.top);
        all->left = larger(all->left, padding.left);
        all->bottom = larger(all->bottom, padding.bottom);
        all->right = larger(all->right, padding.right);
        if (is_too_large(&graph->values[value].shape, all)) {
            l->refused = n;
            l->why = "its padding would take too much memory";
        }
    }
}

static enum qd_status make_pad_bytes(struct layouts *l, int value, struct qd_place *place, struct qd_error *err)
{
    int64_t c = l->graph->values[value].shape.dims[1];

    if (!place->padding.top && !place->padding.left && !place->padding.bottom && !place->padding.right)
        return QD_OK;
    place->pad_bytes = qd_arena_alloc(&l->plan->arena, (size_t)c);
    if (!place->pad_bytes)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for padding");
    return QD_OK;
}

void qd_layout_set_pad_bytes(struct qd_plan *plan)
{
    for (int form = 0; form < QD_N_FORMS; form++) {
        for (int v = 0; v < plan->graph->n_values; v++) {
            const struct qd_place *place = &plan->places[form][v];

            for (int64_t i = 0; i < place->c && place->pad_bytes; i++)
                place->pad_bytes[i] = qd_q8_byte(place->padding.value ? place->padding.value[i] : 0,
                                                 qd_q8_channel(plan->graph, v, (int)i));
        }
    }
}

/*
 * Rows follow each other so closely that the padding on the right of one is the padding on the left of the next. What a
 * window reads past the last row is slack.
 */
static void set_steps(const struct qd_graph *graph, int value, struct qd_place *place)
{
    const struct qd_shape *shape = &graph->values[value].shape;
    const struct qd_q8_padding *padding = &place->padding;
    int64_t c = 1, h = 1, w = qd_shape_count(shape), row;

    if (qd_value_is_picture(&graph->values[value])) {
        c = shape->dims[1];
        h = shape->dims[2];
        w = shape->dims[3];
    }
    row = w + larger(padding->left, padding->right);
    place->h = h;
    place->w = w;
    place->c = c;
    place->steps.x = c;
    place->steps.y = row * c;
    place->at = (size_t)((padding->top * row + padding->left) * c);
    place->steps.image =
        ((padding->top + h + padding->bottom) * row * c + (padding->left + padding->right) * c + QD_ALIGNMENT - 1) /
        QD_ALIGNMENT * QD_ALIGNMENT;
}

/* Parts lie as their wholes do, and then names as what they name, which may be renamed itself. */
static void place_parts(struct layouts *l)
{
    struct qd_place *places = l->plan->places[QD_FORM_Q8];

    for (int v = 0; v < l->graph->n_values; v++) {
        struct qd_place *whole = whole_of(&places[v]);

        if (whole == &places[v] || l->root[v] != v)
            continue;
        if (places[v].renamed) { /* as it lies by itself, but for where images are */
            places[v].steps.image = whole->steps.image;
            continue;
        }
        places[v].steps = whole->steps;
        places[v].at = whole->at + (size_t)channel_of(&places[v]);
    }
    for (int v = 0; v < l->graph->n_values; v++) {
        if (l->root[v] == v)
            continue;
        places[v].steps = places[l->root[v]].steps;
        places[v].at = places[l->root[v]].at;
    }
}

enum qd_status qd_layout_plan(struct qd_plan *plan, const bool *node_q8, int *ret_refused, const char **ret_why,
                              struct qd_error *err)
{
    const struct qd_graph *graph = plan->graph;
    struct layouts l = {.graph = graph, .plan = plan, .node_q8 = node_q8, .refused = -1};
    struct qd_place *places = plan->places[QD_FORM_Q8];
    enum qd_status status;

    status = qd_alloc_for((void **)&l.any_steps, (size_t)graph->n_values + 1, sizeof(bool), "layouts", err);
    if (status == QD_OK)
        status = qd_alloc_for((void **)&l.root, (size_t)graph->n_values + 1, sizeof(int), "layouts", err);
    if (status != QD_OK) {
        qd_free(l.any_steps);
        return status;
    }
    find_any_steps(&l);
    find_names(&l);
    join(&l);
    rename_values(&l);
    collect_padding(&l);
    if (l.refused >= 0) {
        *ret_refused = l.refused;
        *ret_why = l.why;
        status = qd_error_set(err, QD_UNSUPPORTED, "%s", l.why);
    }
    for (int v = 0; v < graph->n_values && status == QD_OK; v++) {
        if (graph->values[v].data || !graph->values[v].has_shape)
            continue;
        status = make_pad_bytes(&l, v, &places[v], err);
        if (status == QD_OK)
            status = make_pad_bytes(&l, v, &plan->places[QD_FORM_PADDED][v], err);
        set_steps(graph, v, &places[v]);
        set_steps(graph, v, &plan->places[QD_FORM_PADDED][v]);
    }
    if (status == QD_OK)
        place_parts(&l);
    if (status == QD_OK)
        qd_layout_set_pad_bytes(plan);
    qd_free(l.any_steps);
    qd_free(l.root);
    return status;
}

struct qd_place *qd_place_whole(struct qd_place *place)
{
    return whole_of(place);
}

static void fill(uint8_t *out, const uint8_t *pixel, int64_t c, int64_t n_pixels)
{
    for (int64_t i = 0; i < n_pixels; i++)
        memcpy(out + i * c, pixel, (size_t)c);
}

/* n_pixels of one byte are a memset; a pattern of several is copied. */
static void fill_pixels(const struct qd_place *place, uint8_t *first, int64_t at, int64_t n_pixels)
{
    bool one_byte = !place->padding.value;

    if (n_pixels <= 0)
        return;
    if (one_byte)
        memset(first + at * place->c, place->pad_bytes[0], (size_t)(n_pixels * place->c));
    else
        fill(first + at * place->c, place->pad_bytes, place->c, n_pixels);
}

void qd_place_fill_padding(const struct qd_place *place, uint8_t *image, int64_t row_begin, int64_t row_end)
{
    int64_t row = place->steps.y / place->c, gap = row - place->w;
    uint8_t *first = image - place->at;
    int64_t before = place->padding.top * row + place->padding.left;

    if (row_begin == 0)
        fill_pixels(place, first, 0, before);
    for (int64_t y = row_begin; y < row_end; y++)
        fill_pixels(place, first, before + y * row + place->w, gap);
    if (row_end == place->h)
        fill_pixels(place, first, before + place->h * row,
                    (place->padding.bottom - 1) * row + place->w + place->padding.right);
}

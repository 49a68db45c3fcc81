#include "quant/scales.h"

#include <math.h>
#include <string.h>

#include "op/op.h"
#include "quant/given.h"

struct qd_scales *qd_scales_new(void)
{
    struct qd_scales *scales = qd_alloc(sizeof(*scales));

    if (scales)
        scales->multiplier_bits = 24;
    return scales;
}

void qd_scales_free(struct qd_scales *scales)
{
    if (!scales)
        return;
    qd_arena_done(&scales->arena);
    qd_free(scales);
}

/* Values that a calibration gives scales: floats that nodes make. */
static bool has_scale(const struct qd_value *value)
{
    return value->producer >= 0 && value->dtype == QD_F32 && !value->data;
}

/* Everything that could be wrong with the tensors' scales. */
static enum qd_status check_values(const struct qd_scales *scales, const struct qd_graph *graph, struct qd_error *err)
{
    bool *found = qd_alloc_array((size_t)graph->n_values + 1, sizeof(bool));
    enum qd_status status = found ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for scales");
    bool complete;

    for (size_t i = 0; i < scales->n_values && status == QD_OK; i++) {
        const struct qd_value_scale *s = &scales->values[i];
        int v = qd_graph_find_value(graph, s->name);

        if (v < 0 || !has_scale(&graph->values[v]))
            status = qd_error_set(err, QD_INVALID, "scales for tensor '%s', which the model does not have", s->name);
        else if (found[v])
            status = qd_error_set(err, QD_INVALID, "scales for tensor '%s' twice", s->name);
        else if (!(s->q.scale > 0))
            status = qd_error_set(err, QD_INVALID, "no scale for tensor '%s'", s->name);
        else if (s->channel_steps &&
                 (!qd_value_is_picture(&graph->values[v]) || graph->values[v].shape.dims[1] != s->n_channels))
            status = qd_error_set(err, QD_INVALID, "tensor '%s': steps of %d channels do not fit it", s->name,
                                  s->n_channels);
        else
            found[v] = true;
    }
    /* A model with scales of its own need not have one for every tensor. */
    complete = strcmp(scales->method, QD_METHOD_GIVEN) != 0;
    for (int v = 0; v < graph->n_values && status == QD_OK && complete; v++)
        if (has_scale(&graph->values[v]) && !found[v])
            status = qd_error_set(err, QD_INVALID, "no scale for tensor '%s'", graph->values[v].name);
    qd_free(found);
    return status;
}

bool qd_is_scaled_layer(const struct qd_graph *graph, const struct qd_node *node)
{
    return node->op->layer && node->op->supports_q8 && node->op->supports_q8(graph, node);
}

enum qd_status qd_scales_list_layers(struct qd_scales *scales, const struct qd_graph *graph, int weight_bits,
                                     struct qd_error *err)
{
    scales->layers = qd_arena_array(&scales->arena, (size_t)graph->n_nodes + 1, sizeof(*scales->layers));
    if (!scales->layers)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for scales");
    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];
        struct qd_layer_scale *layer = &scales->layers[scales->n_layers];
        int64_t channels;

        if (!qd_is_scaled_layer(graph, node))
            continue;
        channels = qd_value_channels(&graph->values[node->outputs[0]]);
        layer->name = qd_arena_strdup(&scales->arena, node->name);
        if (!layer->name)
            return qd_error_set(err, QD_NO_MEMORY, "no memory for scales");
        layer->n = (int)channels;
        layer->k = (int)(qd_shape_count(&graph->values[node->inputs[1]].shape) / channels);
        layer->macs = node->op->macs ? node->op->macs(graph, node) : 0;
        layer->precision = node->precision;
        layer->weights.bits = weight_bits;
        layer->weights_db = layer->sensitivity = (double)NAN;
        scales->n_layers++;
    }
    return QD_OK;
}

/* The node of a layer, sought from *at on: both stand in one order. */
static struct qd_node *find_node(const struct qd_layer_scale *layer, struct qd_graph *graph, int *at,
                                 struct qd_error *err)
{
    while (*at < graph->n_nodes) {
        struct qd_node *node = &graph->nodes[(*at)++];
        const struct qd_value *w = qd_node_input(graph, node, 1);

        if (strcmp(node->name, layer->name) != 0)
            continue;
        if (node->op->layer && w && w->data && qd_value_channels(&graph->values[node->outputs[0]]) == layer->n &&
            qd_shape_count(&w->shape) == (int64_t)layer->n * layer->k)
            return node;
    }
    qd_error_set(err, QD_INVALID, "weights for layer '%.80s', %d x %d, which the model does not have", layer->name,
                 layer->n, layer->k);
    return NULL;
}

enum qd_status qd_scales_apply(const struct qd_scales *scales, struct qd_graph *graph, struct qd_error *err)
{
    enum qd_status status = check_values(scales, graph, err);
    int at = 0;

    for (size_t i = 0; i < scales->n_layers && status == QD_OK; i++)
        if (!find_node(&scales->layers[i], graph, &at, err))
            status = QD_INVALID;
    if (status != QD_OK)
        return status;
    for (size_t i = 0; i < scales->n_values; i++) {
        struct qd_value *value = &graph->values[qd_graph_find_value(graph, scales->values[i].name)];

        value->q = scales->values[i].q;
        value->channel_steps = scales->values[i].channel_steps;
    }
    for (int n = 0; n < graph->n_nodes; n++)
        graph->nodes[n].layer_weights = NULL;
    at = 0;
    for (size_t i = 0; i < scales->n_layers; i++) {
        struct qd_node *node = find_node(&scales->layers[i], graph, &at, err);

        node->layer_weights = &scales->layers[i].weights;
        if (scales->layers[i].precision == QD_PRECISION_F32)
            node->precision = QD_PRECISION_F32;
    }
    graph->multiplier_bits = scales->multiplier_bits;
    return QD_OK;
}

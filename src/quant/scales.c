#include "quant/scales.h"

#include <string.h>

#include "op/op.h"

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

static enum qd_status apply_values(const struct qd_scales *scales, struct qd_graph *graph, struct qd_error *err)
{
    size_t n = 0;

    for (size_t i = 0; i < scales->n_values; i++) {
        const struct qd_value_scale *s = &scales->values[i];
        int v = qd_graph_find_value(graph, s->name);

        if (v < 0 || !has_scale(&graph->values[v]))
            return qd_error_set(err, QD_INVALID, "scales for tensor '%s', which the model does not have", s->name);
        if (s->channel_steps && (graph->values[v].shape.n_dims != 4 || graph->values[v].shape.dims[1] != s->n_channels))
            return qd_error_set(err, QD_INVALID, "tensor '%s': steps of %d channels do not fit it", s->name,
                                s->n_channels);
        graph->values[v].q = s->q;
        graph->values[v].channel_steps = s->channel_steps;
    }
    for (int v = 0; v < graph->n_values; v++) {
        n += has_scale(&graph->values[v]);
        if (has_scale(&graph->values[v]) && graph->values[v].q.scale <= 0)
            return qd_error_set(err, QD_INVALID, "no scale for tensor '%s'", graph->values[v].name);
    }
    if (n != scales->n_values)
        return qd_error_set(err, QD_INVALID, "expected scales for %zu tensors, found %zu", n, scales->n_values);
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
        if (node->op->layer && w && w->data && graph->values[node->outputs[0]].shape.dims[1] == layer->n &&
            qd_shape_count(&w->shape) == (int64_t)layer->n * layer->k)
            return node;
        break;
    }
    qd_error_set(err, QD_INVALID, "weights for layer '%.80s', %d x %d, which the model does not have", layer->name,
                 layer->n, layer->k);
    return NULL;
}

enum qd_status qd_scales_apply(const struct qd_scales *scales, struct qd_graph *graph, struct qd_error *err)
{
    enum qd_status status = apply_values(scales, graph, err);
    int at = 0;

    for (int n = 0; n < graph->n_nodes; n++)
        graph->nodes[n].layer_weights = NULL;
    for (size_t i = 0; i < scales->n_layers && status == QD_OK; i++) {
        struct qd_node *node = find_node(&scales->layers[i], graph, &at, err);

        if (!node)
            return QD_INVALID;
        node->layer_weights = &scales->layers[i].weights;
        if (scales->layers[i].precision == QD_PRECISION_F32)
            node->precision = QD_PRECISION_F32;
    }
    graph->multiplier_bits = scales->multiplier_bits;
    return status;
}

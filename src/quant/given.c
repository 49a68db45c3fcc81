#include "quant/given.h"

#include <math.h>
#include <string.h>

#include "op/op.h"

static enum qd_status no_memory(struct qd_error *err)
{
    return qd_error_set(err, QD_NO_MEMORY, "no memory for scales");
}

static enum qd_status list_values(const struct qd_graph *graph, struct qd_scales *scales, struct qd_error *err)
{
    scales->values = qd_arena_array(&scales->arena, (size_t)graph->n_values + 1, sizeof(*scales->values));
    if (!scales->values)
        return no_memory(err);
    for (int v = 0; v < graph->n_values; v++) {
        const struct qd_value *value = &graph->values[v];
        struct qd_value_scale *s = &scales->values[scales->n_values];

        if (!value->given || value->producer < 0)
            continue;
        s->name = qd_arena_strdup(&scales->arena, value->name);
        if (!s->name)
            return no_memory(err);
        s->q = value->q;
        s->min = -(float)value->q.zero_point * value->q.scale;
        s->max = (float)((1 << value->q.bits) - 1 - value->q.zero_point) * value->q.scale;
        s->clip_ratio = s->sqnr_db = s->cumulative_db = (double)NAN;
        scales->n_values++;
    }
    return QD_OK;
}

/* Copies: scales own what they point to. */
static enum qd_status copy_weights(const struct qd_layer_weights *from, struct qd_arena *arena,
                                   struct qd_layer_scale *to, struct qd_error *err)
{
    size_t size = (size_t)to->n * (size_t)to->k;
    int8_t *q = qd_arena_alloc(arena, size);
    float *scale = qd_arena_array(arena, (size_t)to->n, sizeof(float));

    if (!q || !scale)
        return no_memory(err);
    memcpy(q, from->q, size);
    memcpy(scale, from->scale, (size_t)to->n * sizeof(float));
    to->weights = (struct qd_layer_weights){.bits = from->bits, .q = q, .scale = scale};
    return QD_OK;
}

enum qd_status qd_scales_given(const struct qd_graph *graph, struct qd_scales **ret, struct qd_error *err)
{
    struct qd_scales *scales = qd_scales_new();
    enum qd_status status = scales ? list_values(graph, scales, err) : no_memory(err);
    size_t l = 0;

    if (status == QD_OK) {
        scales->gate.fp32_top1 = scales->gate.fp32_top5 = scales->gate.int8_top1 = scales->gate.int8_top5 = (double)NAN;
        scales->gate.agreement = scales->gate.sqnr_db = scales->gate.kl = (double)NAN;
        strncpy(scales->method, QD_METHOD_GIVEN, sizeof(scales->method) - 1);
        status = qd_scales_list_layers(scales, graph, 8, err);
    }
    for (int n = 0; n < graph->n_nodes && status == QD_OK; n++) {
        if (!qd_is_scaled_layer(graph, &graph->nodes[n]))
            continue;
        if (graph->nodes[n].layer_weights && graph->nodes[n].layer_weights->q)
            status = copy_weights(graph->nodes[n].layer_weights, &scales->arena, &scales->layers[l], err);
        l++;
    }
    if (status != QD_OK) {
        qd_scales_free(scales);
        return status;
    }
    *ret = scales;
    return QD_OK;
}

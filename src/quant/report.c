#include "quant/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "op/op.h"
#include "util/clock.h"

#define TIMED_US 100000
#define MAX_TIMED_RUNS 50

static const struct qd_value_scale *find_tensor(const struct qd_scales *scales, const char *name)
{
    for (size_t i = 0; i < scales->n_values; i++)
        if (strcmp(scales->values[i].name, name) == 0)
            return &scales->values[i];
    return NULL;
}

/* The scales' layers stand in the nodes' order; names alone may be there twice. */
static void find_weights(const struct qd_graph *graph, const struct qd_scales *scales,
                         const struct qd_layer_scale **by_node)
{
    size_t at = 0;

    for (int n = 0; n < graph->n_nodes && at < scales->n_layers; n++)
        if (graph->nodes[n].layer_weights == &scales->layers[at].weights)
            by_node[n] = &scales->layers[at++];
}

static void fill_layer(const struct qd_scales *scales, const struct qd_graph *graph,
                       const struct qd_layer_scale *const *by_node, struct qd_report_layer *layer)
{
    layer->us = (double)NAN;
    layer->least_step = layer->largest_step = 1;
    if (!layer->step.node)
        return;
    layer->tensor = find_tensor(scales, graph->values[layer->step.value].name);
    layer->weights = by_node[layer->step.node - graph->nodes];
    if (!layer->tensor || !layer->tensor->channel_steps)
        return;
    layer->least_step = INFINITY;
    layer->largest_step = 0;
    for (int c = 0; c < layer->tensor->n_channels; c++) {
        layer->least_step = fminf(layer->least_step, layer->tensor->channel_steps[c]);
        layer->largest_step = fmaxf(layer->largest_step, layer->tensor->channel_steps[c]);
    }
}

static double sensitivity_of(const struct qd_report_layer *layer)
{
    return layer->weights ? -layer->weights->sensitivity : (double)NAN;
}

static double error_of(const struct qd_report_layer *layer)
{
    return layer->tensor && layer->step.kind == QD_STEP_Q8 ? layer->tensor->cumulative_db : (double)NAN;
}

/* Layers whose key is known, the lowest first, equal ones in the plan's order. Returns how many. */
static int sort_layers(const struct qd_report *report, double (*key)(const struct qd_report_layer *), int *ret)
{
    int n = 0;

    for (int i = 0; i < report->n_layers; i++) {
        double k = key(&report->layers[i]);
        int at = n;

        if (!isfinite(k))
            continue;
        for (; at > 0 && key(&report->layers[ret[at - 1]]) > k; at--)
            ret[at] = ret[at - 1];
        ret[at] = i;
        n++;
    }
    return n;
}

enum qd_status qd_report_make(const struct qd_pipeline_result *result, const char *model, const char *profile,
                              struct qd_report *ret, struct qd_error *err)
{
    struct qd_report report = {.model = model, .profile = profile, .result = result, .peak_bytes = -1};
    const struct qd_graph *graph = qd_plan_graph(result->int8);
    const struct qd_layer_scale **by_node;
    size_t n = (size_t)qd_plan_n_steps(result->int8);

    report.layers = qd_arena_array(&report.arena, n + 1, sizeof(*report.layers));
    report.by_sensitivity = qd_arena_array(&report.arena, n + 1, sizeof(int));
    report.by_error = qd_arena_array(&report.arena, n + 1, sizeof(int));
    by_node = qd_arena_array(&report.arena, (size_t)graph->n_nodes + 1, sizeof(const struct qd_layer_scale *));
    if (!report.layers || !report.by_sensitivity || !report.by_error || !by_node) {
        qd_arena_done(&report.arena);
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a report");
    }
    find_weights(graph, result->scales, by_node);
    for (; report.n_layers < (int)n; report.n_layers++) {
        qd_plan_step(result->int8, report.n_layers, &report.layers[report.n_layers].step);
        fill_layer(result->scales, graph, by_node, &report.layers[report.n_layers]);
    }
    report.n_by_sensitivity = sort_layers(&report, sensitivity_of, report.by_sensitivity);
    report.n_by_error = sort_layers(&report, error_of, report.by_error);
    for (int i = 0; i < report.n_by_sensitivity; i++)
        report.layers[report.by_sensitivity[i]].rank = i + 1;
    *ret = report;
    return QD_OK;
}

void qd_report_done(struct qd_report *report)
{
    qd_arena_done(&report->arena);
    memset(report, 0, sizeof(*report));
}

enum qd_status qd_report_measure_times(struct qd_report *report, int n_threads, struct qd_error *err)
{
    const struct qd_plan *plan = report->result->int8;
    struct qd_frame *frame;
    int h, w, c, n_runs = 0;
    int64_t start;
    enum qd_status status = qd_frame_new(plan, n_threads, &frame, err);

    if (status != QD_OK)
        return status;
    qd_plan_input_size(plan, &h, &w, &c);
    for (int64_t i = 0; i < (int64_t)h * w * c; i++)
        qd_frame_input(frame, 0)[i] = (uint8_t)(i * 7);
    qd_frame_run(frame, 1, n_threads);
    qd_frame_profile(frame, true);
    for (start = qd_now_us(); n_runs < MAX_TIMED_RUNS && (!n_runs || qd_now_us() - start < TIMED_US); n_runs++)
        qd_frame_run(frame, 1, n_threads);
    for (int i = 0; i < report->n_layers; i++)
        report->layers[i].us = (double)qd_frame_step_ns(frame, i) / 1e3 / n_runs;
    qd_frame_free(frame);
    return QD_OK;
}

double qd_lowest_level(const struct qd_value_scale *tensor)
{
    return -(double)tensor->q.zero_point * (double)tensor->q.scale;
}

double qd_highest_level(const struct qd_value_scale *tensor)
{
    return (double)((1 << tensor->q.bits) - 1 - tensor->q.zero_point) * (double)tensor->q.scale;
}

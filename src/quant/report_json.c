/* The layer report as JSON. */
#include <math.h>

#include "quant/report.h"

/* Names come from files, which need not hold UTF-8: then what is not ASCII becomes '?'. */
static json_t *name_to_json(const char *name)
{
    json_t *json = json_string(name);
    char *text = json ? NULL : qd_strdup(name);

    for (char *c = text; c && *c; c++)
        if (*c & 0x80)
            *c = '?';
    if (!json)
        json = json_string(text ? text : "");
    qd_free(text);
    return json;
}

static json_t *steps_to_json(const struct qd_report_layer *layer)
{
    if (!layer->tensor->channel_steps)
        return json_null();
    return json_pack("{s:i, s:f, s:f}", "channels", layer->tensor->n_channels, "least", (double)layer->least_step,
                     "largest", (double)layer->largest_step);
}

static void add_tensor(json_t *json, const struct qd_report_layer *layer)
{
    const struct qd_value_scale *t = layer->tensor;
    json_t *histogram = json_array();

    for (int i = 0; i < QD_REPORT_BINS; i++)
        json_array_append_new(histogram, json_integer(t->histogram[i]));
    json_object_update_new(
        json, json_pack("{s:f, s:i, s:i, s:o, s:f, s:f, s:f, s:f, s:o, s:o, s:o, s:f, s:o}", "scale",
                        (double)t->q.scale, "zero_point", t->q.zero_point, "bits", t->q.bits, "channel_steps",
                        steps_to_json(layer), "lowest_level", qd_lowest_level(t), "highest_level", qd_highest_level(t),
                        "min", (double)t->min, "max", (double)t->max, "clip_ratio", qd_json_real(t->clip_ratio),
                        "sqnr_db", qd_json_real(t->sqnr_db), "cumulative_sqnr_db", qd_json_real(t->cumulative_db),
                        "histogram_low_log2", (double)t->histogram_low, "histogram", histogram));
}

static json_t *layer_to_json(const struct qd_report_layer *layer, const struct qd_graph *graph)
{
    const struct qd_step_info *step = &layer->step;
    json_t *json = json_pack("{s:o, s:s, s:s, s:o, s:I, s:o}", "name", name_to_json(step->name), "op",
                             step->node ? step->node->op_name : "-", "precision", qd_step_kind_name(step->kind),
                             "tensor", name_to_json(graph->values[step->value].name), "macs", (json_int_t)step->macs,
                             "us", qd_json_real(layer->us));

    if (step->why_f32)
        json_object_set_new(json, "why_fp32", json_string(step->why_f32));
    if (layer->tensor)
        add_tensor(json, layer);
    if (layer->weights)
        json_object_update_new(json,
                               json_pack("{s:i, s:o, s:o, s:o}", "weight_bits", layer->weights->weights.bits,
                                         "weights_sqnr_db", qd_json_real(layer->weights->weights_db), "sensitivity_kl",
                                         qd_json_real(layer->weights->sensitivity), "sensitivity_rank",
                                         layer->rank ? json_integer(layer->rank) : json_null()));
    return json;
}

static json_t *names_to_json(const struct qd_report *report, const int *order, int n)
{
    json_t *names = json_array();

    for (int i = 0; i < n; i++)
        json_array_append_new(names, name_to_json(report->layers[order[i]].step.name));
    return names;
}

json_t *qd_report_to_json(const struct qd_report *report)
{
    json_t *root = qd_scales_to_json(report->result->scales, false), *layers = json_array();
    double peak_mib = report->peak_bytes < 0 ? (double)NAN : (double)report->peak_bytes / (1 << 20);

    for (int i = 0; i < report->n_layers; i++)
        json_array_append_new(layers, layer_to_json(&report->layers[i], qd_plan_graph(report->result->int8)));
    json_object_update_new(root, json_pack("{s:o, s:s, s:f, s:b, s:o, s:o, s:o, s:o}", "model",
                                           name_to_json(report->model), "profile", report->profile, "seconds",
                                           report->result->seconds, "from_cache", report->result->from_cache,
                                           "peak_mib", qd_json_real(peak_mib), "layers", layers, "most_sensitive",
                                           names_to_json(report, report->by_sensitivity, report->n_by_sensitivity),
                                           "worst", names_to_json(report, report->by_error, report->n_by_error)));
    return root;
}

#include "quant/scales.h"

#include <math.h>
#include <string.h>

void qd_scales_free(struct qd_scales *scales)
{
    if (!scales)
        return;
    for (size_t i = 0; i < scales->n_values; i++)
        qd_free(scales->values[i].name);
    qd_free(scales->values);
    qd_free(scales);
}

/* Values that a calibration gives scales: floats that nodes make. */
static bool has_scale(const struct qd_value *value)
{
    return value->producer >= 0 && value->dtype == QD_F32 && !value->data;
}

enum qd_status qd_scales_apply(const struct qd_scales *scales, struct qd_graph *graph, struct qd_error *err)
{
    size_t n = 0;

    for (size_t i = 0; i < scales->n_values; i++) {
        int v = qd_graph_find_value(graph, scales->values[i].name);

        if (v < 0 || !has_scale(&graph->values[v]))
            return qd_error_set(err, QD_INVALID, "scales for tensor '%s', which the model does not have",
                                scales->values[i].name);
        graph->values[v].q = scales->values[i].q;
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

json_t *qd_json_real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *qd_accuracy_to_json(const struct qd_accuracy *a)
{
    return json_pack("{s:I, s:I, s:{s:o, s:o}, s:{s:o, s:o}, s:o, s:o, s:o}", "images", (json_int_t)a->n_images,
                     "skipped", (json_int_t)a->n_skipped, "fp32", "top1", qd_json_real(a->fp32_top1), "top5",
                     qd_json_real(a->fp32_top5), "int8", "top1", qd_json_real(a->int8_top1), "top5",
                     qd_json_real(a->int8_top5), "agreement", qd_json_real(a->agreement), "sqnr_db",
                     qd_json_real(a->sqnr_db), "kl", qd_json_real(a->kl));
}

static json_t *value_to_json(const struct qd_value_scale *v)
{
    json_t *histogram = json_array();

    for (int i = 0; i < QD_REPORT_BINS; i++)
        json_array_append_new(histogram, json_integer(v->histogram[i]));
    return json_pack("{s:s, s:f, s:i, s:i, s:f, s:f, s:o, s:o, s:o, s:f, s:o}", "name", v->name, "scale",
                     (double)v->q.scale, "zero_point", v->q.zero_point, "bits", v->q.bits, "min", (double)v->min, "max",
                     (double)v->max, "clip_ratio", qd_json_real(v->clip_ratio), "sqnr_db", qd_json_real(v->sqnr_db),
                     "cumulative_sqnr_db", qd_json_real(v->cumulative_db), "histogram_low_log2",
                     (double)v->histogram_low, "histogram", histogram);
}

json_t *qd_scales_to_json(const struct qd_scales *scales)
{
    json_t *values = json_array(), *root;

    for (size_t i = 0; i < scales->n_values; i++)
        json_array_append_new(values, value_to_json(&scales->values[i]));
    root = json_pack("{s:s, s:i, s:i, s:o, s:b, s:s, s:o}", "method", scales->method, "images", scales->n_images,
                     "skipped", scales->n_skipped, "gate", qd_accuracy_to_json(&scales->gate), "gate_passed",
                     scales->gate_passed, "gate_text", scales->gate_text, "tensors", values);
    return root;
}

/* A number of an object, or NAN where it is null or missing. */
static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static enum qd_status value_from_json(const json_t *json, struct qd_value_scale *v, struct qd_error *err)
{
    const char *name = json_string_value(json_object_get(json, "name"));
    double scale = number(json, "scale"), zero = number(json, "zero_point"), bits = number(json, "bits");
    const json_t *histogram = json_object_get(json, "histogram");

    if (!name || !(scale > 0) || !isfinite((float)scale) || !(bits >= 2 && bits <= 8) || !(zero >= 0 && zero <= 255))
        return qd_error_set(err, QD_INVALID, "tensor '%.60s': scale, zero point or bits are missing or out of range",
                            name ? name : "?");
    v->name = qd_strdup(name);
    if (!v->name)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for scales");
    v->q = (struct qd_qparams){(float)scale, (int)zero, (int)bits};
    v->min = (float)number(json, "min");
    v->max = (float)number(json, "max");
    v->clip_ratio = number(json, "clip_ratio");
    v->sqnr_db = number(json, "sqnr_db");
    v->cumulative_db = number(json, "cumulative_sqnr_db");
    v->histogram_low = (float)number(json, "histogram_low_log2");
    for (size_t i = 0; i < QD_REPORT_BINS; i++)
        v->histogram[i] = (uint32_t)json_integer_value(json_array_get(histogram, i));
    return QD_OK;
}

static void accuracy_from_json(const json_t *json, struct qd_accuracy *a)
{
    a->n_images = (size_t)json_integer_value(json_object_get(json, "images"));
    a->n_skipped = (size_t)json_integer_value(json_object_get(json, "skipped"));
    a->fp32_top1 = number(json_object_get(json, "fp32"), "top1");
    a->fp32_top5 = number(json_object_get(json, "fp32"), "top5");
    a->int8_top1 = number(json_object_get(json, "int8"), "top1");
    a->int8_top5 = number(json_object_get(json, "int8"), "top5");
    a->agreement = number(json, "agreement");
    a->sqnr_db = number(json, "sqnr_db");
    a->kl = number(json, "kl");
}

enum qd_status qd_scales_from_json(const json_t *json, struct qd_scales **ret, struct qd_error *err)
{
    const json_t *tensors = json_object_get(json, "tensors");
    const char *method = json_string_value(json_object_get(json, "method"));
    const char *text = json_string_value(json_object_get(json, "gate_text"));
    struct qd_scales *scales;
    enum qd_status status;

    if (!json_is_array(tensors) || !method)
        return qd_error_set(err, QD_INVALID, "expected method and tensors");
    scales = qd_alloc(sizeof(*scales));
    if (!scales)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for scales");
    strncpy(scales->method, method, sizeof(scales->method) - 1);
    strncpy(scales->gate_text, text ? text : "", sizeof(scales->gate_text) - 1);
    scales->n_images = (int)json_integer_value(json_object_get(json, "images"));
    scales->n_skipped = (int)json_integer_value(json_object_get(json, "skipped"));
    scales->gate_passed = json_is_true(json_object_get(json, "gate_passed"));
    accuracy_from_json(json_object_get(json, "gate"), &scales->gate);
    status = qd_alloc_for((void **)&scales->values, json_array_size(tensors) + 1, sizeof(*scales->values), "scales", err);
    for (size_t i = 0; i < json_array_size(tensors) && status == QD_OK; i++) {
        status = value_from_json(json_array_get(tensors, i), &scales->values[i], err);
        if (status == QD_OK)
            scales->n_values++;
    }
    if (status != QD_OK) {
        qd_scales_free(scales);
        return status;
    }
    *ret = scales;
    return QD_OK;
}

/* Scales as JSON and back: what the cache stores and reports print. */
#include <math.h>
#include <string.h>

#include "quant/scales.h"
#include "util/base64.h"

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

static json_t *floats_to_json(const float *x, int n)
{
    json_t *array = json_array();

    for (int i = 0; i < n; i++)
        json_array_append_new(array, json_real((double)x[i]));
    return array;
}

static json_t *value_to_json(const struct qd_value_scale *v)
{
    json_t *histogram = json_array(), *root;

    for (int i = 0; i < QD_REPORT_BINS; i++)
        json_array_append_new(histogram, json_integer(v->histogram[i]));
    root = json_pack("{s:s, s:f, s:i, s:i, s:f, s:f, s:o, s:o, s:o, s:f, s:o}", "name", v->name, "scale",
                     (double)v->q.scale, "zero_point", v->q.zero_point, "bits", v->q.bits, "min", (double)v->min, "max",
                     (double)v->max, "clip_ratio", qd_json_real(v->clip_ratio), "sqnr_db", qd_json_real(v->sqnr_db),
                     "cumulative_sqnr_db", qd_json_real(v->cumulative_db), "histogram_low_log2",
                     (double)v->histogram_low, "histogram", histogram);
    if (v->channel_steps)
        json_object_set_new(root, "channel_steps", floats_to_json(v->channel_steps, v->n_channels));
    return root;
}

static json_t *layer_to_json(const struct qd_layer_scale *l, bool with_weights)
{
    json_t *root =
        json_pack("{s:s, s:i, s:i, s:I, s:s, s:i, s:o, s:o}", "name", l->name, "outputs", l->n, "weights", l->k, "macs",
                  (json_int_t)l->macs, "precision", l->precision == QD_PRECISION_F32 ? "fp32" : "int8", "weight_bits",
                  l->weights.bits, "weights_sqnr_db", qd_json_real(l->weights_db), "sensitivity_kl",
                  qd_json_real(l->sensitivity));
    char *text;

    if (!with_weights)
        return root;
    if (l->weights.bias)
        json_object_set_new(root, "bias", floats_to_json(l->weights.bias, l->n));
    if (l->weights.q) {
        text = qd_base64_encode(l->weights.q, (size_t)l->n * (size_t)l->k);
        json_object_set_new(root, "q", json_string(text ? text : ""));
        json_object_set_new(root, "scale", floats_to_json(l->weights.scale, l->n));
        qd_free(text);
    }
    return root;
}

static json_t *stage_to_json(const struct qd_stage_report *s)
{
    return json_pack("{s:s, s:b, s:[o, o], s:[o, o], s:o, s:s}", "name", s->name, "kept", s->kept, "before_db",
                     qd_json_real(s->before_db[0]), qd_json_real(s->before_db[1]), "after_db",
                     qd_json_real(s->after_db[0]), qd_json_real(s->after_db[1]), "agreement",
                     qd_json_real(s->agreement), "text", s->text);
}

json_t *qd_stages_to_json(const struct qd_scales *scales)
{
    json_t *stages = json_array();

    for (int i = 0; i < scales->n_stages; i++)
        json_array_append_new(stages, stage_to_json(&scales->stages[i]));
    return stages;
}

json_t *qd_scales_to_json(const struct qd_scales *scales, bool with_weights)
{
    json_t *values = json_array(), *layers = json_array(), *root;

    for (size_t i = 0; i < scales->n_values; i++)
        json_array_append_new(values, value_to_json(&scales->values[i]));
    for (size_t i = 0; i < scales->n_layers; i++)
        json_array_append_new(layers, layer_to_json(&scales->layers[i], with_weights));
    root = json_pack("{s:s, s:i, s:i, s:i, s:o, s:b, s:s, s:o, s:o, s:o}", "method", scales->method, "images",
                     scales->n_images, "skipped", scales->n_skipped, "multiplier_bits", scales->multiplier_bits, "gate",
                     qd_accuracy_to_json(&scales->gate), "gate_passed", scales->gate_passed, "gate_text",
                     scales->gate_text, "stages", qd_stages_to_json(scales), "layer_weights", layers, "tensors",
                     values);
    if (with_weights)
        json_object_set_new(root, "known_answers", json_string(scales->known_answers));
    return root;
}

/* A number of an object, or NAN where it is null or missing. */
static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static enum qd_status no_memory(struct qd_error *err)
{
    return qd_error_set(err, QD_NO_MEMORY, "no memory for scales");
}

/* An array of n finite numbers, *ret in the arena; NULL where the key is absent. positive: above 0 too. */
static enum qd_status floats_from_json(struct qd_arena *arena, const json_t *object, const char *key, int n,
                                       bool positive, float **ret, struct qd_error *err)
{
    const json_t *array = json_object_get(object, key);

    *ret = NULL;
    if (!array)
        return QD_OK;
    if (json_array_size(array) != (size_t)n)
        return qd_error_set(err, QD_INVALID, "%s: expected %d numbers, found %zu", key, n, json_array_size(array));
    *ret = qd_arena_array(arena, (size_t)n + 1, sizeof(float));
    if (!*ret)
        return no_memory(err);
    for (int i = 0; i < n; i++) {
        (*ret)[i] = (float)json_number_value(json_array_get(array, (size_t)i));
        if (!isfinite((*ret)[i]) || (positive && !((*ret)[i] > 0)))
            return qd_error_set(err, QD_INVALID, "%s: number %d is out of range", key, i);
    }
    return QD_OK;
}

static enum qd_status value_from_json(struct qd_arena *arena, const json_t *json, struct qd_value_scale *v,
                                      struct qd_error *err)
{
    const char *name = json_string_value(json_object_get(json, "name"));
    double scale = number(json, "scale"), zero = number(json, "zero_point"), bits = number(json, "bits");
    const json_t *histogram = json_object_get(json, "histogram");
    enum qd_status status;

    if (!name || !(scale >= 0x1p-100 && scale <= 0x1p100) || !(bits >= 2 && bits <= 8) ||
        !(zero >= 0 && zero <= (1 << (int)bits) - 1) || !isfinite((float)number(json, "min")) ||
        !isfinite((float)number(json, "max")) || !isfinite((float)number(json, "histogram_low_log2")))
        return qd_error_set(err, QD_INVALID,
                            "tensor '%.60s': scale, zero point, bits or range are missing or out of range",
                            name ? name : "?");
    v->name = qd_arena_strdup(arena, name);
    if (!v->name)
        return no_memory(err);
    v->q = (struct qd_qparams){(float)scale, (int)zero, (int)bits};
    v->n_channels = (int)json_array_size(json_object_get(json, "channel_steps"));
    status = floats_from_json(arena, json, "channel_steps", v->n_channels, true, &v->channel_steps, err);
    if (status != QD_OK)
        return qd_error_context(err, status, "tensor '%.60s'", name);
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

static enum qd_status weights_from_json(struct qd_arena *arena, const json_t *json, struct qd_layer_scale *l,
                                        struct qd_error *err)
{
    const json_t *text = json_object_get(json, "q");
    size_t size = (size_t)l->n * (size_t)l->k;
    int limit = (1 << (l->weights.bits - 1)) - 1;
    float *scale, *bias;
    enum qd_status status = floats_from_json(arena, json, "bias", l->n, false, &bias, err);
    int8_t *q;

    l->weights.bias = bias;
    if (status != QD_OK || !text)
        return status;
    status = floats_from_json(arena, json, "scale", l->n, true, &scale, err);
    if (status == QD_OK && (!scale || !json_is_string(text)))
        return qd_error_set(err, QD_INVALID, "expected q and scale");
    q = status == QD_OK ? qd_arena_alloc(arena, size) : NULL;
    if (status == QD_OK && !q)
        return no_memory(err);
    if (status == QD_OK)
        status = qd_base64_decode(json_string_value(text), json_string_length(text), q, size, err);
    for (size_t i = 0; i < size && status == QD_OK; i++)
        if (q[i] > limit || q[i] < -limit)
            return qd_error_set(err, QD_INVALID, "weight %zu is beyond %d bits", i, l->weights.bits);
    l->weights.q = q;
    l->weights.scale = scale;
    return status;
}

static enum qd_status layer_from_json(struct qd_arena *arena, const json_t *json, struct qd_layer_scale *l,
                                      struct qd_error *err)
{
    const char *name = json_string_value(json_object_get(json, "name"));
    const char *precision = json_string_value(json_object_get(json, "precision"));
    double n = number(json, "outputs"), k = number(json, "weights"), bits = number(json, "weight_bits");
    enum qd_status status;

    if (!name || !precision || !(n >= 1 && n <= 1e6) || !(k >= 1 && k <= 1e8) || !(bits >= 2 && bits <= 8) ||
        n * k > QD_MAX_ELEMENTS)
        return qd_error_set(err, QD_INVALID, "layer '%.60s': sizes, bits or precision are missing or out of range",
                            name ? name : "?");
    l->name = qd_arena_strdup(arena, name);
    if (!l->name)
        return no_memory(err);
    l->n = (int)n;
    l->k = (int)k;
    l->macs = json_integer_value(json_object_get(json, "macs"));
    l->precision = strcmp(precision, "fp32") == 0 ? QD_PRECISION_F32 : QD_PRECISION_Q8;
    l->weights.bits = (int)bits;
    l->weights_db = number(json, "weights_sqnr_db");
    l->sensitivity = number(json, "sensitivity_kl");
    status = weights_from_json(arena, json, l, err);
    return status == QD_OK ? QD_OK : qd_error_context(err, status, "layer '%.60s'", name);
}

static void stage_from_json(const json_t *json, struct qd_stage_report *s)
{
    const json_t *before = json_object_get(json, "before_db"), *after = json_object_get(json, "after_db");
    const char *name = json_string_value(json_object_get(json, "name"));
    const char *text = json_string_value(json_object_get(json, "text"));

    strncpy(s->name, name ? name : "?", sizeof(s->name) - 1);
    strncpy(s->text, text ? text : "", sizeof(s->text) - 1);
    s->kept = json_is_true(json_object_get(json, "kept"));
    s->agreement = number(json, "agreement");
    for (size_t h = 0; h < 2; h++) {
        const json_t *x = json_array_get(before, h), *y = json_array_get(after, h);

        s->before_db[h] = json_is_number(x) ? json_number_value(x) : (double)NAN;
        s->after_db[h] = json_is_number(y) ? json_number_value(y) : (double)NAN;
    }
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

static enum qd_status lists_from_json(const json_t *json, struct qd_scales *scales, struct qd_error *err)
{
    const json_t *tensors = json_object_get(json, "tensors"), *layers = json_object_get(json, "layer_weights");
    const json_t *stages = json_object_get(json, "stages");
    enum qd_status status = QD_OK;

    scales->values = qd_arena_array(&scales->arena, json_array_size(tensors) + 1, sizeof(*scales->values));
    scales->layers = qd_arena_array(&scales->arena, json_array_size(layers) + 1, sizeof(*scales->layers));
    if (!scales->values || !scales->layers)
        return no_memory(err);
    for (size_t i = 0; i < json_array_size(tensors) && status == QD_OK; i++)
        status = value_from_json(&scales->arena, json_array_get(tensors, i), &scales->values[scales->n_values++], err);
    for (size_t i = 0; i < json_array_size(layers) && status == QD_OK; i++)
        status = layer_from_json(&scales->arena, json_array_get(layers, i), &scales->layers[scales->n_layers++], err);
    for (size_t i = 0; i < json_array_size(stages) && i < QD_MAX_STAGES; i++)
        stage_from_json(json_array_get(stages, i), &scales->stages[scales->n_stages++]);
    return status;
}

enum qd_status qd_scales_from_json(const json_t *json, struct qd_scales **ret, struct qd_error *err)
{
    const char *method = json_string_value(json_object_get(json, "method"));
    const char *text = json_string_value(json_object_get(json, "gate_text"));
    const char *answers = json_string_value(json_object_get(json, "known_answers"));
    double bits = number(json, "multiplier_bits");
    struct qd_scales *scales;
    enum qd_status status;

    if (!json_is_array(json_object_get(json, "tensors")) || !json_is_array(json_object_get(json, "layer_weights")) ||
        !method || !(bits >= 1 && bits <= 24))
        return qd_error_set(err, QD_INVALID, "expected method, multiplier_bits, layer_weights and tensors");
    scales = qd_scales_new();
    if (!scales)
        return no_memory(err);
    strncpy(scales->method, method, sizeof(scales->method) - 1);
    strncpy(scales->gate_text, text ? text : "", sizeof(scales->gate_text) - 1);
    strncpy(scales->known_answers, answers ? answers : "", sizeof(scales->known_answers) - 1);
    scales->multiplier_bits = (int)bits;
    scales->n_images = (int)json_integer_value(json_object_get(json, "images"));
    scales->n_skipped = (int)json_integer_value(json_object_get(json, "skipped"));
    scales->gate_passed = json_is_true(json_object_get(json, "gate_passed"));
    accuracy_from_json(json_object_get(json, "gate"), &scales->gate);
    status = lists_from_json(json, scales, err);
    if (status != QD_OK) {
        qd_scales_free(scales);
        return status;
    }
    *ret = scales;
    return QD_OK;
}

/* What is there and how it does: models, layers, metrics, health. */
#include <string.h>

#include "http/internal.h"
#include "quant/report.h"

#define MAX_METRICS_BYTES ((size_t)64 << 20)

static json_t *model_to_json(struct qd_entry *entry)
{
    struct qd_model *model = qd_entry_model(entry);
    char error[QD_ERROR_TEXT_SIZE];
    const struct qd_scales *s;
    json_t *json, *gate;

    qd_entry_error(entry, error);
    json = json_pack("{s:s, s:s}", "name", entry->name, "state", model ? "serving" : error[0] ? "failed" : "loading");
    if (error[0])
        json_object_set_new(json, "last_error", json_string(error));
    if (!model)
        return json;
    s = model->result.scales;
    gate = json_pack("{s:s, s:o}", "status",
                     !s->gate.n_images ? "not run"
                     : s->gate_passed  ? "passed"
                                       : "failed",
                     "held_out", qd_accuracy_to_json(&s->gate));
    if (s->gate_text[0])
        json_object_set_new(gate, "reason", json_string(s->gate_text));
    json_object_set_new(json, "gate", gate);
    json_object_set_new(json, "version", json_integer(model->config.version));
    json_object_set_new(json, "generation", json_integer(model->generation));
    json_object_set_new(json, "calibrated_at", json_real((double)model->calibrated_unix_us / 1e6));
    json_object_set_new(json, "calibration",
                        json_pack("{s:s, s:i, s:i, s:b, s:f}", "method", s->method, "images", s->n_images, "skipped",
                                  s->n_skipped, "from_cache", model->result.from_cache, "seconds",
                                  model->result.seconds));
    json_object_set_new(json, "macs", json_integer((json_int_t)qd_plan_macs(model->result.int8, false)));
    json_object_set_new(json, "int8_macs", json_integer((json_int_t)qd_plan_macs(model->result.int8, true)));
    json_object_set_new(json, "classes", json_integer((json_int_t)qd_plan_output_count(model->result.int8, 0)));
    if (model->evaluation.n_images)
        json_object_set_new(json, "evaluation", qd_accuracy_to_json(&model->evaluation));
    qd_model_unref(model);
    return json;
}

void qd_route_models(struct qd_exchange *exchange)
{
    struct qd_registry *registry = exchange->http->options.registry;
    json_t *models = json_array();

    for (int i = 0; i < qd_registry_n_entries(registry); i++)
        json_array_append_new(models, model_to_json(qd_registry_entry(registry, i)));
    qd_reply_json(exchange, 200, json_pack("{s:o}", "models", models));
}

void qd_route_model(struct qd_exchange *exchange)
{
    struct qd_entry *entry;
    struct qd_error err = {""};
    enum qd_status status = qd_registry_find(exchange->http->options.registry, exchange->arguments[0], &entry, &err);

    if (status == QD_OK)
        qd_reply_json(exchange, 200, model_to_json(entry));
    else
        qd_reply_error(exchange, status, &err);
}

void qd_route_layers(struct qd_exchange *exchange)
{
    struct qd_entry *entry;
    struct qd_error err = {""};
    struct qd_model *model = NULL;
    struct qd_report report = {0};
    json_t *json;
    enum qd_status status = qd_registry_find(exchange->http->options.registry, exchange->arguments[0], &entry, &err);

    if (status == QD_OK && !(model = qd_entry_model(entry)))
        status = qd_error_set(&err, QD_UNAVAILABLE, "model '%s' is not loaded yet", entry->name);
    if (status == QD_OK)
        status = qd_report_make(&model->result, model->config.name, model->profile, &report, &err);
    if (status == QD_OK) {
        json = qd_report_to_json(&report);
        json_object_set_new(json, "generation", json_integer(model->generation));
        qd_reply_json(exchange, 200, json);
    } else {
        qd_reply_error(exchange, status, &err);
    }
    qd_report_done(&report);
    qd_model_unref(model);
}

void qd_route_metrics(struct qd_exchange *exchange)
{
    struct qd_error err = {""};
    struct qd_buf out;
    enum qd_status status;

    qd_buf_init(&out, MAX_METRICS_BYTES);
    status = qd_metrics_print(exchange->http->options.registry, exchange->http->options.isa, &out, &err);
    if (status == QD_OK)
        qd_reply_text(exchange, 200, "text/plain; version=0.0.4; charset=utf-8", out.bytes, out.size);
    else
        qd_reply_error(exchange, status, &err);
    qd_buf_done(&out);
}

void qd_route_healthz(struct qd_exchange *exchange)
{
    qd_reply_json(exchange, 200, json_pack("{s:s}", "status", "live"));
}

void qd_route_readyz(struct qd_exchange *exchange)
{
    if (atomic_load(&exchange->http->draining))
        qd_reply_error_as(exchange, 503, qd_status_name(QD_UNAVAILABLE), "draining");
    else if (!qd_registry_is_ready(exchange->http->options.registry))
        qd_reply_error_as(exchange, 503, qd_status_name(QD_UNAVAILABLE),
                          "models are still loading, or none could be loaded");
    else
        qd_reply_json(exchange, 200, json_pack("{s:s}", "status", "ready"));
}

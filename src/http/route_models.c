/* The models: what there is and how it does, their layers, and back to earlier scales. */
#include <stdlib.h>
#include <string.h>

#include "http/internal.h"
#include "quant/report.h"

/* The kept generations of its scales, the newest last. */
static json_t *generations_to_json(const struct qd_model *model)
{
    json_t *list = json_array();

    for (int i = 0; i < model->generations.n; i++) {
        const struct qd_generation *g = &model->generations.list[i];

        json_array_append_new(list, json_pack("{s:i, s:s, s:I, s:b}", "generation", g->number, "method", g->method,
                                              "calibrated_at", (json_int_t)(g->made_unix_us / 1000000), "serves",
                                              g->number == model->generation));
    }
    return list;
}

/* What is said of a model that serves. */
static void add_model(json_t *json, const struct qd_model *model)
{
    const struct qd_scales *s = model->result.scales;
    json_t *gate = json_pack("{s:s, s:o}", "status",
                             !s->gate.n_images ? "not run"
                             : s->gate_passed  ? "passed"
                                               : "failed",
                             "held_out", qd_accuracy_to_json(&s->gate));

    if (s->gate_text[0])
        json_object_set_new(gate, "reason", json_string(s->gate_text));
    json_object_set_new(json, "gate", gate);
    json_object_set_new(json, "generation", json_integer(model->generation));
    json_object_set_new(json, "generations", generations_to_json(model));
    json_object_set_new(json, "calibrated_at", json_integer(model->calibrated_unix_us / 1000000));
    json_object_set_new(json, "calibration",
                        json_pack("{s:s, s:i, s:i, s:b, s:f}", "method", s->method, "images", s->n_images, "skipped",
                                  s->n_skipped, "from_cache", model->result.from_cache, "seconds",
                                  model->result.seconds));
    json_object_set_new(json, "preprocess", qd_preprocess_to_json(&model->config.preprocess));
    json_object_set_new(json, "preprocess_is_stated", json_boolean(model->config.has_preprocess));
    json_object_set_new(json, "macs", json_integer((json_int_t)qd_plan_macs(model->result.int8, false)));
    json_object_set_new(json, "int8_macs", json_integer((json_int_t)qd_plan_macs(model->result.int8, true)));
    json_object_set_new(json, "classes", json_integer((json_int_t)qd_plan_output_count(model->result.int8, 0)));
    if (qd_model_evaluation(model))
        json_object_set_new(json, "evaluation", qd_accuracy_to_json(qd_model_evaluation(model)));
}

/* All versions of a name, each with its state. */
static json_t *versions_to_json(struct qd_registry *registry, const char *name)
{
    json_t *list = json_array();

    for (int i = 0; i < qd_registry_n_entries(registry); i++) {
        struct qd_entry *entry = qd_registry_entry(registry, i);
        struct qd_entry_status status;
        json_t *json;

        qd_entry_status(entry, &status);
        if (strcmp(entry->name, name) != 0 || status.state == QD_ENTRY_GONE)
            continue;
        json = json_pack("{s:i, s:s}", "version", entry->version, "state", qd_entry_state_name(status.state));
        if (status.reason[0])
            json_object_set_new(json, "reason", json_string(status.reason));
        json_array_append_new(list, json);
    }
    return list;
}

static json_t *entry_to_json(struct qd_registry *registry, struct qd_entry *entry)
{
    struct qd_model *model = qd_entry_model(entry);
    struct qd_entry_status status;
    json_t *json;

    qd_entry_status(entry, &status);
    json = json_pack("{s:s, s:i, s:s, s:o}", "name", entry->name, "version", entry->version, "state",
                     qd_entry_state_name(status.state), "versions", versions_to_json(registry, entry->name));
    if (status.reason[0])
        json_object_set_new(json,
                            status.state == QD_ENTRY_READY || status.state == QD_ENTRY_FAILED ? "last_error" : "reason",
                            json_string(status.reason));
    if (model)
        add_model(json, model);
    qd_model_unref(model);
    return json;
}

void qd_route_models(struct qd_exchange *exchange)
{
    struct qd_registry *registry = exchange->http->options.registry;
    json_t *models = json_array();

    for (int i = 0; i < qd_registry_n_entries(registry); i++) {
        struct qd_entry *entry = qd_registry_entry(registry, i);
        struct qd_entry_status status;

        qd_entry_status(entry, &status);
        if (status.is_served && status.state != QD_ENTRY_GONE)
            json_array_append_new(models, entry_to_json(registry, entry));
    }
    qd_reply_json(exchange, 200, json_pack("{s:o}", "models", models));
}

/* The entry of the path's name and ?version=. */
static enum qd_status find_entry(const struct qd_exchange *exchange, struct qd_entry **ret, struct qd_error *err)
{
    int version = 0;
    enum qd_status status = qd_read_version(qd_exchange_query(exchange, "version"), &version, err);

    if (status == QD_OK)
        status = qd_registry_find(exchange->http->options.registry, exchange->arguments[0], version, ret, err);
    return status;
}

void qd_route_model(struct qd_exchange *exchange)
{
    struct qd_entry *entry;
    struct qd_error err = {""};
    enum qd_status status = find_entry(exchange, &entry, &err);

    if (status == QD_OK)
        qd_reply_json(exchange, 200, entry_to_json(exchange->http->options.registry, entry));
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
    enum qd_status status = find_entry(exchange, &entry, &err);

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

void qd_route_rollback(struct qd_exchange *exchange)
{
    static const char *const keys[] = {"generation", NULL};
    struct qd_job_order order = {.kind = QD_JOB_ROLLBACK};
    struct qd_error err = {""};
    json_t *root = NULL;
    enum qd_status status = qd_read_object(exchange, keys, &root, &err);

    if (status == QD_OK)
        status = qd_read_count(root, "generation", &order.generation, &err);
    if (status == QD_OK)
        status = find_entry(exchange, &order.entry, &err);
    json_decref(root);
    if (!order.generation)
        order.generation = QD_GENERATION_BEFORE;
    if (status == QD_OK)
        qd_task_run(exchange, &order, qd_route_model);
    else
        qd_reply_error(exchange, status, &err);
}

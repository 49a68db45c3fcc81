/* What V2 says of the server and its models: metadata, health, configuration, statistics. */
#include <stdio.h>
#include <string.h>

#include <config.h>
#include "http/v2.h"

const char *qd_v2_datatype(enum qd_dtype dtype)
{
    static const char *const names[QD_N_DTYPE] = {
        [QD_F32] = "FP32",  [QD_U8] = "UINT8",  [QD_S8] = "INT8",
        [QD_I32] = "INT32", [QD_I64] = "INT64", [QD_BOOL] = "BOOL",
    };

    return names[dtype];
}

void qd_route_v2_server(struct qd_exchange *exchange)
{
    qd_reply_json(exchange, 200,
                  json_pack("{s:s, s:s, s:[s, s, s, s, s]}", "name", PACKAGE_NAME, "version", PACKAGE_VERSION,
                            "extensions", "binary_tensor_data", "classification", "model_configuration",
                            "model_repository", "statistics"));
}

void qd_route_v2_live(struct qd_exchange *exchange)
{
    qd_reply_json(exchange, 200, json_pack("{s:b}", "live", 1));
}

/* The model that the path names, with a reference; or the error is answered. */
static struct qd_model *find_model(struct qd_exchange *exchange, struct qd_entry **ret_entry)
{
    struct qd_error err = {""};
    struct qd_model *model = NULL;
    int version = 0;
    enum qd_status status = qd_read_version(exchange->arguments[1], &version, &err);

    if (status == QD_OK)
        status = qd_registry_use(exchange->http->options.registry, exchange->arguments[0], version, ret_entry, &model,
                                 &err);
    if (status != QD_OK)
        qd_reply_error(exchange, status, &err);
    return model;
}

void qd_route_v2_model_ready(struct qd_exchange *exchange)
{
    struct qd_entry *entry;
    struct qd_model *model = find_model(exchange, &entry);

    if (model)
        qd_reply_json(exchange, 200, json_pack("{s:s, s:b}", "name", entry->name, "ready", 1));
    qd_model_unref(model);
}

/* Dimensions from the second on, after the batch where batch is true; those of the bits in free are -1. */
static json_t *dims_to_json(const struct qd_shape *shape, unsigned free, bool batch)
{
    json_t *dims = json_array();

    if (batch)
        json_array_append_new(dims, json_integer(-1));
    for (int d = shape->n_dims && shape->dims[0] == 1 ? 1 : 0; d < shape->n_dims; d++)
        json_array_append_new(dims, json_integer(free >> d & 1 ? -1 : (json_int_t)shape->dims[d]));
    return dims;
}

static json_t *output_dims(const struct qd_model *model, int o, bool batch)
{
    const struct qd_graph *graph = model->graph;

    return dims_to_json(&graph->values[graph->outputs[o]].shape, model->free_dims ? model->free_dims[o] : 0, batch);
}

/* The model's picture in its own order; what its file leaves open is -1. */
static struct qd_shape input_shape(const struct qd_model *model)
{
    const struct qd_graph *graph = model->graph;
    const struct qd_preprocess *p = &model->config.preprocess;
    int64_t c = qd_preprocess_channels(p), h = graph->free_height ? -1 : p->crop_h;
    int64_t w = graph->free_width ? -1 : p->crop_w;

    return graph->channels_last ? (struct qd_shape){4, {1, h, w, c}} : (struct qd_shape){4, {1, c, h, w}};
}

static const char *input_datatype(const struct qd_graph *graph)
{
    return graph->takes_bytes ? "UINT8" : qd_v2_datatype(graph->values[graph->inputs[0]].dtype);
}

/* Of a name: those that serve, or could. */
static json_t *versions_to_json(struct qd_registry *registry, const char *name)
{
    json_t *versions = json_array();

    for (int i = 0; i < qd_registry_n_entries(registry); i++) {
        struct qd_entry *entry = qd_registry_entry(registry, i);
        struct qd_entry_status status;

        qd_entry_status(entry, &status);
        if (strcmp(entry->name, name) == 0 && status.state != QD_ENTRY_GONE)
            json_array_append_new(versions, json_sprintf("%d", entry->version));
    }
    return versions;
}

void qd_route_v2_model(struct qd_exchange *exchange)
{
    struct qd_entry *entry;
    struct qd_model *model = find_model(exchange, &entry);
    json_t *outputs = json_array();
    const struct qd_graph *graph;
    struct qd_shape input;

    if (!model) {
        json_decref(outputs);
        return;
    }
    graph = model->graph;
    input = input_shape(model);
    for (int o = 0; o < graph->n_outputs; o++) {
        const struct qd_value *value = &graph->values[graph->outputs[o]];

        json_array_append_new(outputs, json_pack("{s:s, s:s, s:o}", "name", value->name, "datatype",
                                                 qd_v2_datatype(value->dtype), "shape",
                                                 output_dims(model, o, true)));
    }
    qd_reply_json(exchange, 200,
                  json_pack("{s:s, s:o, s:s, s:[{s:s, s:s, s:o}], s:o}", "name", entry->name, "versions",
                            versions_to_json(exchange->http->options.registry, entry->name),
                            "platform", QD_V2_PLATFORM, "inputs", "name", graph->values[graph->inputs[0]].name,
                            "datatype", input_datatype(graph), "shape",
                            dims_to_json(&input, 0, true), "outputs", outputs));
    qd_model_unref(model);
}

static json_t *config_outputs(const struct qd_model *model)
{
    const struct qd_graph *graph = model->graph;
    json_t *outputs = json_array();

    for (int o = 0; o < graph->n_outputs; o++) {
        const struct qd_value *value = &graph->values[graph->outputs[o]];
        char type[32];

        snprintf(type, sizeof(type), "TYPE_%s", qd_v2_datatype(value->dtype));
        json_array_append_new(outputs, json_pack("{s:s, s:s, s:o}", "name", value->name, "data_type", type, "dims",
                                                 output_dims(model, o, false)));
    }
    return outputs;
}

void qd_route_v2_config(struct qd_exchange *exchange)
{
    const struct qd_serve_options *o = qd_registry_options(exchange->http->options.registry);
    struct qd_entry *entry;
    struct qd_model *model = find_model(exchange, &entry);
    struct qd_shape input;
    char type[32];

    if (!model)
        return;
    input = input_shape(model);
    snprintf(type, sizeof(type), "TYPE_%s", input_datatype(model->graph));
    qd_reply_json(
        exchange, 200,
        json_pack("{s:s, s:s, s:s, s:{s:{s:i}}, s:i, s:[{s:s, s:s, s:s, s:o}], s:o, s:[{s:s, s:i}], "
                  "s:{s:i, s:i, s:i, s:{s:i, s:I}}}",
                  "name", entry->name, "platform", QD_V2_PLATFORM, "backend", PACKAGE_NAME, "version_policy", "latest",
                  "num_versions", 1, "max_batch_size", o->model.max_batch, "input", "name",
                  model->graph->values[model->graph->inputs[0]].name, "data_type", type, "format",
                  model->graph->channels_last ? "FORMAT_NHWC" : "FORMAT_NCHW", "dims", dims_to_json(&input, 0, false),
                  "output", config_outputs(model), "instance_group", "kind", "KIND_CPU", "count", o->n_runners,
                  "dynamic_batching", "max_queue_delay_microseconds", o->max_delay_us, "priority_levels",
                  QD_N_PRIORITIES, "default_priority_level", QD_NORMAL_PRIORITY + 1, "default_queue_policy",
                  "max_queue_size", o->queue_limit, "default_timeout_microseconds",
                  (json_int_t)o->deadline_ms * 1000));
    qd_model_unref(model);
}

static json_t *duration(unsigned long long count, unsigned long long us)
{
    return json_pack("{s:I, s:I}", "count", (json_int_t)count, "ns", (json_int_t)us * 1000);
}

static json_t *stats_to_json(struct qd_entry *entry, const struct qd_model *model)
{
    struct qd_version_stats *m = &entry->stats;
    unsigned long long n_images = 0, n_batches = 0, decode_us = 0, compute_us = 0;
    json_t *batches = json_array();
    char version[16];

    for (int n = 1; n <= QD_MAX_BATCH; n++) {
        unsigned long long count = atomic_load(&m->batches[n].n), decode = atomic_load(&m->batches[n].decode_us);
        unsigned long long compute = atomic_load(&m->batches[n].compute_us);

        if (!count)
            continue;
        n_batches += count;
        n_images += count * (unsigned long long)n;
        decode_us += decode;
        compute_us += compute;
        json_array_append_new(batches, json_pack("{s:i, s:o, s:o, s:o}", "batch_size", n, "compute_input",
                                                 duration(count, decode), "compute_infer", duration(count, compute),
                                                 "compute_output", duration(count, 0)));
    }
    snprintf(version, sizeof(version), "%d", model->config.version);
    return json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}, s:o}", "name", entry->name, "version",
        version, "last_inference", (json_int_t)atomic_load(&m->last_inference_unix_us) / 1000, "inference_count",
        (json_int_t)n_images, "execution_count", (json_int_t)n_batches, "inference_stats", "success",
        duration(atomic_load(&m->succeeded.n), atomic_load(&m->succeeded.us)), "fail",
        duration(atomic_load(&m->failed.n), atomic_load(&m->failed.us)), "queue",
        duration(atomic_load(&m->queue.n), atomic_load(&m->queue.us)), "compute_input",
        duration(n_batches, decode_us), "compute_infer", duration(n_batches, compute_us), "compute_output",
        duration(atomic_load(&m->respond.n), atomic_load(&m->respond.us)), "cache_hit", duration(0, 0), "cache_miss",
        duration(0, 0), "batch_stats", batches);
}

void qd_route_v2_stats(struct qd_exchange *exchange)
{
    struct qd_entry *entry;
    struct qd_model *model = find_model(exchange, &entry);

    if (model)
        qd_reply_json(exchange, 200, json_pack("{s:[o]}", "model_stats", stats_to_json(entry, model)));
    qd_model_unref(model);
}

void qd_route_v2_all_stats(struct qd_exchange *exchange)
{
    struct qd_registry *registry = exchange->http->options.registry;
    json_t *list = json_array();

    for (int i = 0; i < qd_registry_n_entries(registry); i++) {
        struct qd_entry *entry = qd_registry_entry(registry, i);
        struct qd_model *model = qd_entry_model(entry);

        if (model)
            json_array_append_new(list, stats_to_json(entry, model));
        qd_model_unref(model);
    }
    qd_reply_json(exchange, 200, json_pack("{s:o}", "model_stats", list));
}

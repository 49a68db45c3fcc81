/*
 * The model repository as the Open Inference Protocol's extension has it: index, load, unload. And what other routes
 * need that wait for a job: an exchange that is suspended until the job is over.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "http/internal.h"
#include "serve/versions.h"
#include "util/clock.h"

/* How long the folder is not read again for an index: anybody may ask. */
#define INDEX_US 100000

struct qd_task {
    struct qd_exchange *exchange;
    qd_route_run *reply;
    bool ready_only; /* index */
    enum qd_status status;
    struct qd_error err;
};

void qd_task_free(struct qd_task *task)
{
    qd_free(task);
}

/* In the job's thread. */
static void on_done(void *context, enum qd_status status, const struct qd_error *err)
{
    struct qd_task *task = context;

    task->status = status;
    task->err = *err;
    qd_exchange_resume(task->exchange);
}

static void reply(struct qd_exchange *exchange)
{
    struct qd_task *task = exchange->task;

    if (task->status == QD_OK)
        task->reply(exchange);
    else
        qd_reply_error(exchange, task->status, &task->err);
}

/* The exchange's task, made where there is none. */
static struct qd_task *task_of(struct qd_exchange *exchange)
{
    if (!exchange->task)
        exchange->task = qd_alloc(sizeof(*exchange->task));
    return exchange->task;
}

void qd_task_run(struct qd_exchange *exchange, struct qd_job_order *order, qd_route_run *then)
{
    struct qd_task *task = task_of(exchange);
    struct qd_error err = {""};
    enum qd_status status = QD_OK;

    if (!task)
        status = qd_error_set(&err, QD_NO_MEMORY, "no memory for a request");
    else if (atomic_load(&exchange->http->draining))
        status = qd_error_set(&err, QD_UNAVAILABLE, "the server is stopping");
    if (status != QD_OK) {
        qd_reply_error(exchange, status, &err);
        return;
    }
    task->exchange = exchange;
    task->reply = then;
    exchange->resume = reply;
    order->done = on_done;
    order->context = task;
    /* Suspended first: the job may be over before its start returns. */
    MHD_suspend_connection(exchange->connection);
    exchange->waiting = true;
    status = qd_jobs_start(exchange->http->options.jobs, order, NULL, &err);
    if (status != QD_OK)
        on_done(task, status, &err);
}

enum qd_status qd_read_object(const struct qd_exchange *exchange, const char *const *keys, json_t **ret,
                              struct qd_error *err)
{
    json_t *root = NULL, *value;
    const char *key;
    enum qd_status status = QD_OK;

    if (exchange->body.size)
        status = qd_json_read(exchange->body.bytes, exchange->body.size, &root, err);
    else
        root = json_object();
    if (status == QD_OK && !json_is_object(root))
        status = qd_error_set(err, QD_INVALID, "body: expected a JSON object");
    if (status != QD_OK) {
        json_decref(root);
        return status;
    }
    json_object_foreach(root, key, value)
    {
        const char *const *known = keys;

        while (*known && strcmp(*known, key) != 0)
            known++;
        if (!*known) {
            qd_error_set(err, QD_INVALID, "body: unknown key '%.60s', expected '%s'%s", key, keys[0] ? keys[0] : "none",
                         keys[0] && keys[1] ? " and others" : "");
            json_decref(root);
            return QD_INVALID;
        }
    }
    *ret = root;
    return QD_OK;
}

enum qd_status qd_read_count(const json_t *object, const char *key, int *ret, struct qd_error *err)
{
    const json_t *value = json_object_get(object, key);
    json_int_t number = json_integer_value(value);

    if (value && (number < 1 || number > INT_MAX))
        return qd_error_set(err, QD_INVALID, "%s: expected a whole number of 1 and up", key);
    *ret = (int)number;
    return QD_OK;
}

enum qd_status qd_read_version(const char *text, int *ret, struct qd_error *err)
{
    *ret = text && text[0] ? qd_version_of(text) : 0;
    if (text && text[0] && !*ret)
        return qd_error_set(err, QD_INVALID, "version: expected a number of 1 to 999999999, found '%.40s'", text);
    return QD_OK;
}

static json_t *entry_to_json(const struct qd_entry *entry, const struct qd_entry_status *status)
{
    static const char *const states[] = {
        [QD_ENTRY_UNLOADED] = "UNAVAILABLE", [QD_ENTRY_LOADING] = "LOADING",  [QD_ENTRY_READY] = "READY",
        [QD_ENTRY_FAILED] = "UNAVAILABLE",   [QD_ENTRY_GONE] = "UNAVAILABLE",
    };

    return json_pack("{s:s, s:o, s:s, s:s}", "name", entry->name, "version", json_sprintf("%d", entry->version),
                     "state", states[status->state], "reason", status->reason);
}

static void reply_index(struct qd_exchange *exchange)
{
    struct qd_registry *registry = exchange->http->options.registry;
    json_t *list = json_array();

    for (int i = 0; i < qd_registry_n_entries(registry); i++) {
        struct qd_entry *entry = qd_registry_entry(registry, i);
        struct qd_entry_status status;

        qd_entry_status(entry, &status);
        if (status.state != QD_ENTRY_GONE && (status.state == QD_ENTRY_READY || !exchange->task->ready_only))
            json_array_append_new(list, entry_to_json(entry, &status));
    }
    qd_reply_json(exchange, 200, list);
}

void qd_route_repository_index(struct qd_exchange *exchange)
{
    static const char *const keys[] = {"ready", NULL};
    struct qd_job_order order = {.kind = QD_JOB_SCAN};
    struct qd_error err = {""};
    json_t *root = NULL, *ready;
    enum qd_status status = qd_read_object(exchange, keys, &root, &err);

    ready = json_object_get(root, "ready");
    if (status == QD_OK && ready && !json_is_boolean(ready))
        status = qd_error_set(&err, QD_INVALID, "ready: expected true or false");
    if (status == QD_OK && !task_of(exchange))
        status = qd_error_set(&err, QD_NO_MEMORY, "no memory for a request");
    if (status == QD_OK) {
        exchange->task->ready_only = json_is_true(ready);
        if (qd_now_us() - exchange->http->indexed_us < INDEX_US) {
            reply_index(exchange);
        } else {
            exchange->http->indexed_us = qd_now_us();
            qd_task_run(exchange, &order, reply_index);
        }
    } else {
        qd_reply_error(exchange, status, &err);
    }
    json_decref(root);
}

/* Triton's clients send {"parameters": {...}}: a configuration or files of theirs would not be heeded, so it is
 * refused. */
static enum qd_status check_parameters(const json_t *root, struct qd_error *err)
{
    const json_t *parameters = json_object_get(root, "parameters");
    const char *key;
    json_t *value;

    if (parameters && !json_is_object(parameters))
        return qd_error_set(err, QD_INVALID, "parameters: expected an object");
    json_object_foreach((json_t *)(uintptr_t)parameters, key, value)
    {
        if (strcmp(key, "unload_dependents") != 0)
            return qd_error_set(err, QD_INVALID,
                                "parameters: '%.60s' is not supported: models come from the repository's folder", key);
    }
    return QD_OK;
}

static void reply_loaded(struct qd_exchange *exchange)
{
    qd_reply_json(exchange, 200, json_object());
}

static void change(struct qd_exchange *exchange, enum qd_job_kind kind)
{
    static const char *const keys[] = {"parameters", NULL};
    struct qd_job_order order = {.kind = kind, .name = exchange->arguments[0]};
    struct qd_error err = {""};
    json_t *root = NULL;
    enum qd_status status = qd_read_object(exchange, keys, &root, &err);

    if (status == QD_OK)
        status = check_parameters(root, &err);
    json_decref(root);
    if (status == QD_OK)
        status = qd_read_version(qd_exchange_query(exchange, "version"), &order.version, &err);
    if (status == QD_OK)
        qd_task_run(exchange, &order, reply_loaded);
    else
        qd_reply_error(exchange, status, &err);
}

void qd_route_repository_load(struct qd_exchange *exchange)
{
    change(exchange, QD_JOB_LOAD);
}

void qd_route_repository_unload(struct qd_exchange *exchange)
{
    change(exchange, QD_JOB_UNLOAD);
}

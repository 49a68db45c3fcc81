/* Recalibration jobs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/internal.h"

static json_t *job_to_json(const struct qd_job_info *job)
{
    json_t *json = json_pack("{s:I, s:s, s:i, s:s, s:f}", "job", (json_int_t)job->id, "model", job->model, "version",
                             job->version, "state", qd_job_state_name(job->state), "seconds", job->seconds);

    if (job->state == QD_JOB_RUNNING)
        json_object_update_new(json, json_pack("{s:s, s:I, s:I, s:f, s:o}", "stage", job->stage, "done",
                                               (json_int_t)job->done, "total", (json_int_t)job->total, "progress",
                                               job->share, "eta_s", qd_json_real(job->eta_seconds)));
    if (job->state == QD_JOB_DONE)
        json_object_set_new(
            json, "result",
            json_pack("{s:i, s:o}", "generation", job->generation, "gate", qd_accuracy_to_json(&job->gate)));
    if (job->error[0])
        json_object_set_new(json, "error", json_string(job->error));
    return json;
}

/* One string of the body, or NULL. */
static enum qd_status read_text(const json_t *root, const char *key, const char **ret, struct qd_error *err)
{
    const json_t *value = json_object_get(root, key);

    *ret = json_string_value(value);
    if (value && !*ret)
        return qd_error_set(err, QD_INVALID, "%s: expected a string", key);
    return QD_OK;
}

void qd_route_recalibrate(struct qd_exchange *exchange)
{
    static const char *const keys[] = {"model", "version", "method", "images", NULL};
    const struct qd_http_options *options = &exchange->http->options;
    struct qd_job_order order = {.kind = QD_JOB_RECALIBRATE};
    const char *model = NULL;
    struct qd_job_info job;
    struct qd_error err = {""};
    json_t *root = NULL;
    long id = 0;
    /* An empty body means: the only model, its own settings. */
    enum qd_status status = qd_read_object(exchange, keys, &root, &err);

    if (status == QD_OK)
        status = read_text(root, "model", &model, &err);
    if (status == QD_OK)
        status = qd_read_count(root, "version", &order.version, &err);
    if (status == QD_OK)
        status = read_text(root, "method", &order.method, &err);
    if (status == QD_OK)
        status = read_text(root, "images", &order.images, &err);
    if (status == QD_OK && atomic_load(&exchange->http->draining))
        status = qd_error_set(&err, QD_UNAVAILABLE, "the server is stopping");
    if (status == QD_OK)
        status = qd_registry_find(options->registry, model, order.version, &order.entry, &err);
    if (status == QD_OK)
        status = qd_jobs_start(options->jobs, &order, &id, &err);
    if (status == QD_OK)
        status = qd_jobs_get(options->jobs, id, &job, &err);
    if (status == QD_OK) {
        snprintf(exchange->location, sizeof(exchange->location), "/recalibrate/%ld", id);
        qd_reply_json(exchange, 202, job_to_json(&job));
    } else {
        qd_reply_error(exchange, status, &err);
    }
    json_decref(root);
}

void qd_route_jobs(struct qd_exchange *exchange)
{
    struct qd_job_info jobs[QD_MAX_JOBS];
    int n = qd_jobs_list(exchange->http->options.jobs, jobs);
    json_t *list = json_array();

    for (int i = 0; i < n; i++)
        json_array_append_new(list, job_to_json(&jobs[i]));
    qd_reply_json(exchange, 200, json_pack("{s:o}", "jobs", list));
}

static enum qd_status read_id(const struct qd_exchange *exchange, long *ret, struct qd_error *err)
{
    char *end;

    *ret = strtol(exchange->arguments[0], &end, 10);
    if (end == exchange->arguments[0] || *end)
        return qd_error_set(err, QD_NOT_FOUND, "no job '%.40s'", exchange->arguments[0]);
    return QD_OK;
}

void qd_route_job(struct qd_exchange *exchange)
{
    struct qd_job_info job;
    struct qd_error err = {""};
    long id;
    enum qd_status status = read_id(exchange, &id, &err);

    if (status == QD_OK)
        status = qd_jobs_get(exchange->http->options.jobs, id, &job, &err);
    if (status == QD_OK)
        qd_reply_json(exchange, 200, job_to_json(&job));
    else
        qd_reply_error(exchange, status, &err);
}

void qd_route_job_cancel(struct qd_exchange *exchange)
{
    struct qd_error err = {""};
    long id;
    enum qd_status status = read_id(exchange, &id, &err);

    if (status == QD_OK)
        status = qd_jobs_cancel(exchange->http->options.jobs, id, &err);
    if (status == QD_OK)
        qd_route_job(exchange);
    else
        qd_reply_error(exchange, status, &err);
}

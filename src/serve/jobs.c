#include "serve/jobs.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "quant/given.h"
#include "util/clock.h"
#include "util/log.h"

/* Finished jobs are remembered until this many newer ones came. */
#define MAX_JOBS 64

struct job {
    struct qd_job_info info;
    struct qd_jobs *jobs;
    struct qd_entry *entry;
    char *method, *images;
    pthread_t thread;
    bool used, joined, cancel;
    int64_t started_us, told_us; /* told: of its progress */
};

struct qd_jobs {
    struct qd_registry *registry;
    pthread_mutex_t lock;
    struct job table[MAX_JOBS];
    long last_id;
};

const char *qd_job_state_name(enum qd_job_state state)
{
    static const char *const names[] = {"running", "done", "failed", "refused", "cancelled"};

    return names[state];
}

struct qd_jobs *qd_jobs_new(struct qd_registry *registry)
{
    struct qd_jobs *jobs = qd_alloc(sizeof(*jobs));

    if (!jobs)
        return NULL;
    jobs->registry = registry;
    pthread_mutex_init(&jobs->lock, NULL);
    return jobs;
}

/* Called by the calibration between batches. */
static bool on_progress(void *context, const struct qd_progress_state *state)
{
    struct job *job = context;
    bool go_on;

    pthread_mutex_lock(&job->jobs->lock);
    snprintf(job->info.stage, sizeof(job->info.stage), "%s", state->stage);
    job->info.done = state->done;
    job->info.total = state->total;
    job->info.share = state->share;
    job->info.eta_seconds = state->eta_seconds;
    job->told_us = qd_now_us();
    go_on = !job->cancel;
    pthread_mutex_unlock(&job->jobs->lock);
    return go_on;
}

static void *run_job(void *context)
{
    struct job *job = context;
    struct qd_progress progress = {.step = on_progress, .context = job};
    struct qd_model_options options = qd_registry_options(job->jobs->registry)->model;
    struct qd_error err = {""};
    struct qd_model *model;
    enum qd_status status;

    options.progress = &progress;
    options.method = job->method;
    options.images = job->images;
    options.ignore_cache = true;
    status = qd_registry_load(job->jobs->registry, job->entry, &options, &err);
    model = qd_entry_model(job->entry);
    pthread_mutex_lock(&job->jobs->lock);
    job->info.state = status == QD_OK          ? QD_JOB_DONE
                      : status == QD_CANCELLED ? QD_JOB_CANCELLED
                      : status == QD_CONFLICT  ? QD_JOB_REFUSED
                                               : QD_JOB_FAILED;
    memcpy(job->info.error, err.text, sizeof(err.text));
    job->info.seconds = (double)(qd_now_us() - job->started_us) / 1e6;
    if (model && status == QD_OK) {
        job->info.generation = model->generation;
        job->info.gate = model->result.scales->gate;
    }
    pthread_mutex_unlock(&job->jobs->lock);
    qd_model_unref(model);
    return NULL;
}

static void forget(struct job *job)
{
    if (job->used && !job->joined)
        pthread_join(job->thread, NULL);
    qd_free(job->method);
    qd_free(job->images);
    memset(job, 0, sizeof(*job));
}

void qd_jobs_free(struct qd_jobs *jobs)
{
    if (!jobs)
        return;
    pthread_mutex_lock(&jobs->lock);
    for (int i = 0; i < MAX_JOBS; i++)
        jobs->table[i].cancel = true;
    pthread_mutex_unlock(&jobs->lock);
    for (int i = 0; i < MAX_JOBS; i++)
        forget(&jobs->table[i]);
    pthread_mutex_destroy(&jobs->lock);
    qd_free(jobs);
}

/* A free place, or that of the oldest finished job. The lock is held. */
static struct job *find_place(struct qd_jobs *jobs)
{
    struct job *oldest = NULL;

    for (int i = 0; i < MAX_JOBS; i++) {
        struct job *job = &jobs->table[i];

        if (!job->used)
            return job;
        if (job->info.state != QD_JOB_RUNNING && (!oldest || job->info.id < oldest->info.id))
            oldest = job;
    }
    if (oldest)
        forget(oldest); /* its thread has ended: joining does not wait */
    return oldest;
}

static enum qd_status start(struct qd_jobs *jobs, struct qd_entry *entry, const char *method, const char *images,
                            long *ret_id, struct qd_error *err)
{
    struct job *job;

    for (int i = 0; i < MAX_JOBS; i++) {
        job = &jobs->table[i];
        if (job->used && job->info.state == QD_JOB_RUNNING && job->entry == entry)
            return qd_error_set(err, QD_CONFLICT, "model '%s' is being calibrated already, by job %ld", entry->name,
                                job->info.id);
    }
    job = find_place(jobs);
    if (!job)
        return qd_error_set(err, QD_FULL, "%d calibrations are running", MAX_JOBS);
    job->method = method ? qd_strdup(method) : NULL;
    job->images = images ? qd_strdup(images) : NULL;
    if ((method && !job->method) || (images && !job->images)) {
        forget(job);
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a job");
    }
    job->jobs = jobs;
    job->entry = entry;
    job->info.id = ++jobs->last_id;
    job->info.state = QD_JOB_RUNNING;
    memcpy(job->info.model, entry->name, sizeof(job->info.model));
    snprintf(job->info.stage, sizeof(job->info.stage), "loading");
    job->info.eta_seconds = (double)NAN;
    job->started_us = job->told_us = qd_now_us();
    if (pthread_create(&job->thread, NULL, run_job, job) != 0) {
        job->joined = true;
        forget(job);
        return qd_error_set(err, QD_IO, "cannot start a thread");
    }
    job->used = true;
    *ret_id = job->info.id;
    return QD_OK;
}

enum qd_status qd_jobs_start(struct qd_jobs *jobs, struct qd_entry *entry, const char *method, const char *images,
                             long *ret_id, struct qd_error *err)
{
    char methods[QD_METHOD_LIST_SIZE];
    enum qd_status status;

    if (method && strcmp(method, QD_METHOD_GIVEN) != 0 && !qd_method_find(method))
        return qd_error_set(err, QD_INVALID, "method: expected one of %s, found '%.40s'",
                            qd_method_list(methods, sizeof(methods)), method);
    pthread_mutex_lock(&jobs->lock);
    status = start(jobs, entry, method, images, ret_id, err);
    pthread_mutex_unlock(&jobs->lock);
    return status;
}

static struct job *find(struct qd_jobs *jobs, long id)
{
    for (int i = 0; i < MAX_JOBS; i++)
        if (jobs->table[i].used && jobs->table[i].info.id == id)
            return &jobs->table[i];
    return NULL;
}

enum qd_status qd_jobs_get(struct qd_jobs *jobs, long id, struct qd_job_info *ret, struct qd_error *err)
{
    struct job *job;
    int64_t now = qd_now_us();

    pthread_mutex_lock(&jobs->lock);
    job = find(jobs, id);
    if (job) {
        *ret = job->info;
        if (ret->state == QD_JOB_RUNNING) {
            ret->seconds = (double)(now - job->started_us) / 1e6;
            if (isfinite(ret->eta_seconds))
                ret->eta_seconds = fmax(0, ret->eta_seconds - (double)(now - job->told_us) / 1e6);
        }
    }
    pthread_mutex_unlock(&jobs->lock);
    return job ? QD_OK : qd_error_set(err, QD_NOT_FOUND, "no job %ld", id);
}

enum qd_status qd_jobs_cancel(struct qd_jobs *jobs, long id, struct qd_error *err)
{
    struct job *job;

    pthread_mutex_lock(&jobs->lock);
    job = find(jobs, id);
    if (job)
        job->cancel = true;
    pthread_mutex_unlock(&jobs->lock);
    return job ? QD_OK : qd_error_set(err, QD_NOT_FOUND, "no job %ld", id);
}

#include "serve/jobs.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/given.h"
#include "serve/repository.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/priority.h"

struct job {
    struct qd_job_info info;
    struct qd_jobs *jobs;
    struct qd_job_order order; /* its texts are the job's */
    pthread_t thread;
    bool used, joined;
    atomic_bool cancel;
    int64_t started_us, told_us; /* told: of its progress */
};

struct qd_jobs {
    struct qd_registry *registry;
    pthread_mutex_t lock;
    struct job table[QD_MAX_JOBS];
    long last_id;
    bool stopping;
};

const char *qd_job_state_name(enum qd_job_state state)
{
    static const char *const names[] = {"running", "done", "failed", "refused", "cancelled"};

    return names[state];
}

static bool is_cancelled(void *context)
{
    struct job *job = context;

    return atomic_load(&job->cancel);
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
    go_on = !is_cancelled(job);
    pthread_mutex_unlock(&job->jobs->lock);
    return go_on;
}

static enum qd_status run_recalibrate(struct job *job, struct qd_model_options *options, struct qd_error *err)
{
    qd_lower_priority();
    options->method = job->order.method;
    options->images = job->order.images;
    options->ignore_cache = true;
    return qd_registry_load(job->jobs->registry, job->order.entry, options, err);
}

static enum qd_status run_rollback(struct job *job, struct qd_model_options *options, struct qd_error *err)
{
    options->generation = job->order.generation;
    return qd_registry_load(job->jobs->registry, job->order.entry, options, err);
}

static enum qd_status run_load(struct job *job, struct qd_model_options *options, struct qd_error *err)
{
    return qd_repository_load(job->jobs->registry, job->order.name, job->order.version, options, err);
}

static enum qd_status run_unload(struct job *job, struct qd_model_options *options, struct qd_error *err)
{
    (void)options;
    return qd_repository_unload(job->jobs->registry, job->order.name, job->order.version, err);
}

static enum qd_status run_scan(struct job *job, struct qd_model_options *options, struct qd_error *err)
{
    (void)options;
    return qd_repository_scan(job->jobs->registry, err);
}

static enum qd_status (*const runs[QD_N_JOB_KINDS])(struct job *, struct qd_model_options *, struct qd_error *) = {
    [QD_JOB_RECALIBRATE] = run_recalibrate, [QD_JOB_ROLLBACK] = run_rollback, [QD_JOB_LOAD] = run_load,
    [QD_JOB_UNLOAD] = run_unload,           [QD_JOB_SCAN] = run_scan,
};

static void note_result(struct job *job, enum qd_status status, const struct qd_error *err)
{
    struct qd_model *model = job->order.entry && status == QD_OK ? qd_entry_model(job->order.entry) : NULL;

    pthread_mutex_lock(&job->jobs->lock);
    job->info.state = status == QD_OK          ? QD_JOB_DONE
                      : status == QD_CANCELLED ? QD_JOB_CANCELLED
                      : status == QD_CONFLICT  ? QD_JOB_REFUSED
                                               : QD_JOB_FAILED;
    memcpy(job->info.error, err->text, sizeof(err->text));
    job->info.seconds = (double)(qd_now_us() - job->started_us) / 1e6;
    if (model) {
        job->info.generation = model->generation;
        job->info.gate = model->result.scales->gate;
    }
    pthread_mutex_unlock(&job->jobs->lock);
    qd_model_unref(model);
}

static void *run_job(void *context)
{
    struct job *job = context;
    struct qd_job_order order = job->order; /* once the result is noted, the place may be another's */
    const struct qd_serve_options *serve = qd_registry_options(job->jobs->registry);
    struct qd_progress progress = {.step = on_progress, .is_cancelled = is_cancelled, .context = job};
    struct qd_model_options options = serve->model;
    struct qd_error err = {""};
    enum qd_status status;

    options.progress = &progress;
    options.n_threads = serve->calibration_threads ? serve->calibration_threads : options.n_threads;
    status = runs[order.kind](job, &options, &err);
    note_result(job, status, &err);
    if (order.done)
        order.done(order.context, status, &err);
    return NULL;
}

static void forget(struct job *job)
{
    if (job->used && !job->joined)
        pthread_join(job->thread, NULL);
    qd_free((char *)(uintptr_t)job->order.name);
    qd_free((char *)(uintptr_t)job->order.method);
    qd_free((char *)(uintptr_t)job->order.images);
    memset(job, 0, sizeof(*job));
}

void qd_jobs_stop(struct qd_jobs *jobs)
{
    if (!jobs)
        return;
    qd_registry_set_loader(jobs->registry, NULL, NULL);
    pthread_mutex_lock(&jobs->lock);
    jobs->stopping = true;
    for (int i = 0; i < QD_MAX_JOBS; i++)
        atomic_store(&jobs->table[i].cancel, true);
    pthread_mutex_unlock(&jobs->lock);
    /* Nobody starts any more, so that no place changes hands; but jobs on their way out still take the lock. */
    for (int i = 0; i < QD_MAX_JOBS; i++) {
        if (jobs->table[i].used && !jobs->table[i].joined)
            pthread_join(jobs->table[i].thread, NULL);
        jobs->table[i].joined = true;
    }
}

void qd_jobs_free(struct qd_jobs *jobs)
{
    if (!jobs)
        return;
    qd_jobs_stop(jobs);
    for (int i = 0; i < QD_MAX_JOBS; i++)
        forget(&jobs->table[i]);
    pthread_mutex_destroy(&jobs->lock);
    qd_free(jobs);
}

/*
 * A free place, or that of a finished job: first of those that nobody looks up, then of the oldest recalibration. The
 * lock is held.
 */
static struct job *find_place(struct qd_jobs *jobs)
{
    struct job *best = NULL;

    for (int i = 0; i < QD_MAX_JOBS; i++) {
        struct job *job = &jobs->table[i];
        int better;

        if (!job->used)
            return job;
        if (job->info.state == QD_JOB_RUNNING)
            continue;
        better = best ? (job->order.kind != QD_JOB_RECALIBRATE) - (best->order.kind != QD_JOB_RECALIBRATE) : 1;
        if (better > 0 || (!better && job->info.id < best->info.id))
            best = job;
    }
    if (best)
        forget(best); /* its thread has ended, or is about to: joining does not wait */
    return best;
}

/* The job's own copies of the order's texts. */
static bool copy_texts(struct job *job, const struct qd_job_order *order)
{
    job->order = *order;
    job->order.name = order->name ? qd_strdup(order->name) : NULL;
    job->order.method = order->method ? qd_strdup(order->method) : NULL;
    job->order.images = order->images ? qd_strdup(order->images) : NULL;
    return (!order->name || job->order.name) && (!order->method || job->order.method) &&
           (!order->images || job->order.images);
}

static enum qd_status start(struct qd_jobs *jobs, const struct qd_job_order *order, long *ret_id, struct qd_error *err)
{
    struct job *job;

    if (jobs->stopping)
        return qd_error_set(err, QD_UNAVAILABLE, "the server is stopping");
    /* A rollback would have to wait for its end: then it is better cancelled. */
    for (int i = 0; i < QD_MAX_JOBS && order->entry; i++) {
        job = &jobs->table[i];
        if (job->used && job->info.state == QD_JOB_RUNNING && job->order.kind == QD_JOB_RECALIBRATE &&
            job->order.entry == order->entry)
            return qd_error_set(err, QD_CONFLICT,
                                "model '%s' is being calibrated by job %ld; DELETE /recalibrate/%ld cancels it",
                                order->entry->name, job->info.id, job->info.id);
    }
    job = find_place(jobs);
    if (!job)
        return qd_error_set(err, QD_FULL, "%d loads and calibrations are running", QD_MAX_JOBS);
    if (!copy_texts(job, order)) {
        forget(job);
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a job");
    }
    job->jobs = jobs;
    /* Only recalibrations are told about, so only they have numbers. */
    job->info.id = order->kind == QD_JOB_RECALIBRATE ? ++jobs->last_id : 0;
    job->info.state = QD_JOB_RUNNING;
    if (order->entry) {
        memcpy(job->info.model, order->entry->name, sizeof(job->info.model));
        job->info.version = order->entry->version;
    }
    snprintf(job->info.stage, sizeof(job->info.stage), "loading");
    job->info.eta_seconds = (double)NAN;
    job->started_us = job->told_us = qd_now_us();
    if (pthread_create(&job->thread, NULL, run_job, job) != 0) {
        forget(job);
        return qd_error_set(err, QD_IO, "cannot start a thread");
    }
    job->used = true;
    if (ret_id)
        *ret_id = job->info.id;
    return QD_OK;
}

enum qd_status qd_jobs_start(struct qd_jobs *jobs, const struct qd_job_order *order, long *ret_id, struct qd_error *err)
{
    char methods[QD_METHOD_LIST_SIZE];
    enum qd_status status;

    if (order->method && strcmp(order->method, QD_METHOD_GIVEN) != 0 && !qd_method_find(order->method))
        return qd_error_set(err, QD_INVALID, "method: expected one of %s, found '%.40s'",
                            qd_method_list(methods, sizeof(methods)), order->method);
    pthread_mutex_lock(&jobs->lock);
    status = start(jobs, order, ret_id, err);
    pthread_mutex_unlock(&jobs->lock);
    return status;
}

/* The registry's: a request came for a version that is not loaded. */
static bool load_wanted(void *context, struct qd_entry *entry)
{
    const struct qd_job_order order = {.kind = QD_JOB_LOAD, .name = entry->name, .version = entry->version};
    struct qd_error err = {""};

    return qd_jobs_start(context, &order, NULL, &err) == QD_OK;
}

struct qd_jobs *qd_jobs_new(struct qd_registry *registry)
{
    struct qd_jobs *jobs = qd_alloc(sizeof(*jobs));

    if (!jobs)
        return NULL;
    jobs->registry = registry;
    pthread_mutex_init(&jobs->lock, NULL);
    qd_registry_set_loader(registry, load_wanted, jobs);
    return jobs;
}

static bool is_told_about(const struct job *job)
{
    return job->used && job->order.kind == QD_JOB_RECALIBRATE;
}

static struct job *find(struct qd_jobs *jobs, long id)
{
    for (int i = 0; i < QD_MAX_JOBS; i++)
        if (is_told_about(&jobs->table[i]) && jobs->table[i].info.id == id)
            return &jobs->table[i];
    return NULL;
}

/* As it is now; the lock is held. */
static struct qd_job_info info_of(const struct job *job)
{
    struct qd_job_info info = job->info;
    int64_t now = qd_now_us();

    if (info.state == QD_JOB_RUNNING) {
        info.seconds = (double)(now - job->started_us) / 1e6;
        if (isfinite(info.eta_seconds))
            info.eta_seconds = fmax(0, info.eta_seconds - (double)(now - job->told_us) / 1e6);
    }
    return info;
}

enum qd_status qd_jobs_get(struct qd_jobs *jobs, long id, struct qd_job_info *ret, struct qd_error *err)
{
    const struct job *job;

    pthread_mutex_lock(&jobs->lock);
    job = find(jobs, id);
    if (job)
        *ret = info_of(job);
    pthread_mutex_unlock(&jobs->lock);
    return job ? QD_OK : qd_error_set(err, QD_NOT_FOUND, "no job %ld", id);
}

static int compare_newest_first(const void *a, const void *b)
{
    const struct qd_job_info *x = a, *y = b;

    return (x->id < y->id) - (x->id > y->id);
}

int qd_jobs_list(struct qd_jobs *jobs, struct qd_job_info ret[QD_MAX_JOBS])
{
    int n = 0;

    pthread_mutex_lock(&jobs->lock);
    for (int i = 0; i < QD_MAX_JOBS; i++)
        if (is_told_about(&jobs->table[i]))
            ret[n++] = info_of(&jobs->table[i]);
    pthread_mutex_unlock(&jobs->lock);
    qsort(ret, (size_t)n, sizeof(*ret), compare_newest_first);
    return n;
}

enum qd_status qd_jobs_cancel(struct qd_jobs *jobs, long id, struct qd_error *err)
{
    struct job *job;

    pthread_mutex_lock(&jobs->lock);
    job = find(jobs, id);
    if (job)
        atomic_store(&job->cancel, true);
    pthread_mutex_unlock(&jobs->lock);
    return job ? QD_OK : qd_error_set(err, QD_NOT_FOUND, "no job %ld", id);
}

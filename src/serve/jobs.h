/*
 * What takes a while beside serving, each in a thread of its own: recalibrations, one at a time per model and at low
 * priority; loads and rollbacks. Thread-safe; the lock lives in jobs.c.
 */
#ifndef QD_SERVE_JOBS_H
#define QD_SERVE_JOBS_H

#include "serve/registry.h"

struct qd_jobs;

/* Running or remembered; a finished one is forgotten for a newer one. */
#define QD_MAX_JOBS 64

enum qd_job_kind {
    QD_JOB_RECALIBRATE, /* entry, method, images; may be looked up and cancelled while remembered */
    QD_JOB_ROLLBACK,    /* entry, generation */
    QD_JOB_LOAD,        /* name, version */
    QD_JOB_UNLOAD,      /* name, version */
    QD_JOB_SCAN,        /* the repository's folder, for what is new in it */
    QD_N_JOB_KINDS
};

/* What to do; texts are copied. */
struct qd_job_order {
    enum qd_job_kind kind;
    struct qd_entry *entry;
    const char *name;
    int version;
    int generation;             /* to roll back to; QD_GENERATION_BEFORE */
    const char *method, *images; /* NULL: the model's own */
    /* Called once it is over, from its thread; not where starting fails. NULL is fine. */
    void (*done)(void *context, enum qd_status status, const struct qd_error *err);
    void *context;
};

enum qd_job_state { QD_JOB_RUNNING, QD_JOB_DONE, QD_JOB_FAILED, QD_JOB_REFUSED, QD_JOB_CANCELLED };

/* A copy of a recalibration's state. */
struct qd_job_info {
    long id;
    enum qd_job_state state;
    char model[QD_MODEL_NAME_SIZE];
    int version;
    char stage[48];
    size_t done, total; /* of the stage; total 0: it does not count */
    double share;       /* of all the work, 0 .. 1 */
    double seconds;     /* so far, or in all */
    double eta_seconds; /* about, until it is over; NAN where unknown */
    int generation;     /* of the result */
    struct qd_accuracy gate;
    char error[QD_ERROR_TEXT_SIZE];
};

const char *qd_job_state_name(enum qd_job_state state);

/* From now on the registry's requests for versions that are not loaded become jobs. NULL without memory. */
struct qd_jobs *qd_jobs_new(struct qd_registry *registry);
/* Cancels what runs and waits for it; starting is refused from now on. NULL is fine. */
void qd_jobs_stop(struct qd_jobs *jobs);
/* Stops first; nobody may use it any more. */
void qd_jobs_free(struct qd_jobs *jobs);

/*
 * Starts one; ret_id may be NULL. QD_CONFLICT: that model is being recalibrated already. QD_INVALID: unknown method.
 * QD_FULL: too many are running. QD_UNAVAILABLE: stopping.
 */
enum qd_status qd_jobs_start(struct qd_jobs *jobs, const struct qd_job_order *order, long *ret_id, struct qd_error *err);

/* Of recalibrations. QD_NOT_FOUND: no such job. */
enum qd_status qd_jobs_get(struct qd_jobs *jobs, long id, struct qd_job_info *ret, struct qd_error *err);
enum qd_status qd_jobs_cancel(struct qd_jobs *jobs, long id, struct qd_error *err);
/* Copies of the recalibrations that run or are remembered, the newest first; how many. */
int qd_jobs_list(struct qd_jobs *jobs, struct qd_job_info ret[QD_MAX_JOBS]);

#endif

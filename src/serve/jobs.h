/*
 * Recalibration jobs: one at a time per model, each in a thread of its own, serving going on meanwhile. Thread-safe; the
 * lock lives in jobs.c.
 */
#ifndef QD_SERVE_JOBS_H
#define QD_SERVE_JOBS_H

#include "serve/registry.h"

struct qd_jobs;

enum qd_job_state { QD_JOB_RUNNING, QD_JOB_DONE, QD_JOB_FAILED, QD_JOB_REFUSED, QD_JOB_CANCELLED };

/* A copy of a job's state. */
struct qd_job_info {
    long id;
    enum qd_job_state state;
    char model[QD_MODEL_NAME_SIZE];
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

struct qd_jobs *qd_jobs_new(struct qd_registry *registry); /* NULL without memory */
/* Cancels what runs and waits for it. */
void qd_jobs_free(struct qd_jobs *jobs);

/*
 * Starts a recalibration. method and images NULL: the model's own. QD_CONFLICT: that model is being calibrated already.
 * QD_INVALID: unknown method.
 */
enum qd_status qd_jobs_start(struct qd_jobs *jobs, struct qd_entry *entry, const char *method, const char *images,
                             long *ret_id, struct qd_error *err);
enum qd_status qd_jobs_get(struct qd_jobs *jobs, long id, struct qd_job_info *ret, struct qd_error *err);
enum qd_status qd_jobs_cancel(struct qd_jobs *jobs, long id, struct qd_error *err);

#endif

/*
 * One runner: the frames that it keeps of each model, and the run of one batch. Used by its one thread, without locks.
 */
#ifndef QD_SERVE_RUNNER_H
#define QD_SERVE_RUNNER_H

#include "serve/monitor.h"
#include "serve/queue.h"
#include "serve/sizes.h"

struct qd_metrics;
struct qd_runner;

/* monitor: outlives it; NULL: none. */
enum qd_status qd_runner_new(const struct qd_model_options *options, struct qd_monitor *monitor,
                             struct qd_runner **ret, struct qd_error *err);
void qd_runner_free(struct qd_runner *runner);

/* How a batch went. */
struct qd_batch_times {
    int n; /* pictures that ran; 0: none, and no times */
    int64_t start_us, decode_us, compute_us;
};

/*
 * Decodes and runs n pictures of one model and size, and fills their answers and results. Their waiting is counted.
 * The requests are not finished here, and other runners may run other pictures of them meanwhile.
 */
void qd_runner_run(struct qd_runner *runner, const struct qd_slot *slots, int n, struct qd_metrics *metrics,
                   struct qd_batch_times *ret_times);

/* Sets aside the frames of the models that is_wanted() does not want: quick, for under a lock. */
void qd_runner_forget(struct qd_runner *runner, bool (*is_wanted)(const struct qd_model *model, void *context),
                      void *context);
/* Frees what was set aside. */
void qd_runner_free_forgotten(struct qd_runner *runner);

#endif

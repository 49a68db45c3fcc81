/*
 * From requests to batches. Each model has a batcher: a bounded queue. All batchers share a pool of runners, each a
 * thread with an OpenMP team: a free runner takes a batch of the model that has had the least time, so that a busy model
 * does not hold up the others. A batch is what is there when the runner is free (or what comes within max_delay_us), at
 * most max_batch pictures; decoding runs on the same team as the network. Thread-safe; the lock lives in batcher.c.
 */
#ifndef QD_SERVE_BATCHER_H
#define QD_SERVE_BATCHER_H

#include "serve/request.h"

struct qd_pool;
struct qd_batcher;
struct qd_entry;
struct qd_monitor;

struct qd_batcher_options {
    int n_runners;     /* each is bound to a NUMA node, in turn, where there are several */
    struct qd_model_options model; /* threads of a runner, max_batch, kernels, limits */
    int max_delay_us;
    int queue_limit; /* pictures that may wait, per model */
    int deadline_ms;
    struct qd_monitor *monitor; /* outlives the pool; NULL: none */
};

enum qd_status qd_pool_new(const struct qd_batcher_options *options, struct qd_pool **ret, struct qd_error *err);
/* Waits for the running batches; answers what is queued, and what comes later, with QD_UNAVAILABLE. */
void qd_pool_stop(struct qd_pool *pool);
/* Stops, and frees the pool with its batchers. NULL is fine. */
void qd_pool_free(struct qd_pool *pool);

/* The batcher of a model; the pool owns it. */
enum qd_status qd_batcher_new(struct qd_pool *pool, struct qd_entry *entry, struct qd_batcher **ret,
                              struct qd_error *err);

/*
 * QD_FULL: the queue has no room for all its pictures now; QD_TOO_LARGE: it never has; QD_UNAVAILABLE: stopping. After a
 * failure done() is not called.
 */
enum qd_status qd_batcher_submit(struct qd_batcher *batcher, struct qd_request *request, struct qd_error *err);

/* The entry's model has changed: runners free what they keep of the old one once no request needs it. NULL is fine. */
void qd_batcher_refresh(struct qd_batcher *batcher);

/* Pictures waiting or running. */
int qd_batcher_load(struct qd_batcher *batcher);

#endif

/*
 * The batcher of one model: a bounded queue of pictures and one runner thread with an OpenMP team. A batch is what is
 * there when the runner is free (or what comes within max_delay_us), at most max_batch pictures; decoding runs on the
 * same team as the network. Thread-safe; the lock lives in batcher.c.
 */
#ifndef QD_SERVE_BATCHER_H
#define QD_SERVE_BATCHER_H

#include "serve/model.h"

#define QD_MAX_BATCH 256

struct qd_batcher;
struct qd_entry;

/* The answer for one picture. */
struct qd_answer {
    enum qd_status status;
    struct qd_error error; /* where status is not QD_OK */
    int n_top;
    struct {
        int64_t class_index;
        float score;
    } top[16];
};

/*
 * One request of n pictures. The submitter owns it; it may be freed once done() was called, which happens exactly once,
 * from the runner's thread (or from the submitter's where submitting fails). bytes stay the submitter's until then.
 */
struct qd_request {
    int n_images;
    const void *const *bytes; /* encoded pictures */
    const size_t *sizes;
    int top_k;                /* 1 to 16 */
    struct qd_answer *answers; /* n_images, zeroed by the submitter */
    void (*done)(struct qd_request *request);
    void *context;
    struct qd_model *model;   /* that runs it, whatever takes its place meanwhile; a reference of the submitter's */

    /* filled before done() */
    int batch_size;           /* the largest batch that held one of its pictures */
    int64_t queue_us, decode_us, compute_us;

    /* private */
    struct qd_request *next;
    int64_t submitted_us, deadline_us;
    int n_started, n_finished;
};

struct qd_batcher_options {
    int max_batch, max_delay_us, queue_limit, deadline_ms, n_threads;
    struct qd_image_limits limits;
};

enum qd_status qd_batcher_new(struct qd_entry *entry, const struct qd_batcher_options *options,
                              struct qd_batcher **ret, struct qd_error *err);
/* Waits for the running batch; answers what is queued with QD_UNAVAILABLE. */
void qd_batcher_free(struct qd_batcher *batcher);

/* QD_FULL when the queue has no room for all its pictures, QD_UNAVAILABLE while stopping. */
enum qd_status qd_batcher_submit(struct qd_batcher *batcher, struct qd_request *request, struct qd_error *err);

/* The entry's model changed: what is kept of the old one is freed once no request needs it. NULL is fine. */
void qd_batcher_refresh(struct qd_batcher *batcher);

/* Pictures waiting or running. */
int qd_batcher_load(struct qd_batcher *batcher);

#endif

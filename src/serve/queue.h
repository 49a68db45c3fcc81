/*
 * The waiting pictures of one model: by priority, and within a priority the clients take turns, a picture each. Only the
 * data structure: the lock is its owner's.
 */
#ifndef QD_SERVE_QUEUE_H
#define QD_SERVE_QUEUE_H

#include "serve/request.h"

/* One picture of a batch. */
struct qd_slot {
    struct qd_request *request;
    int image;
};

/* A zeroed struct is an empty queue. */
struct qd_queue {
    struct {
        struct qd_request *first, *last; /* the first request of each client that waits */
    } levels[QD_N_PRIORITIES];
    int n_images; /* that have not started */
};

void qd_queue_push(struct qd_queue *queue, struct qd_request *request);

/*
 * Up to max pictures that can run together: of the model and the size of whatever is first in turn. Counts them as
 * started. A request whose last picture started is not in the queue any more. Of a lower priority, one whose client is
 * next and that has waited for half of its time goes first: so none is starved.
 */
int qd_queue_take(struct qd_queue *queue, int64_t now_us, int max, struct qd_slot *slots);

/*
 * When the queue should be looked at, though no more pictures come: delay_us after the oldest came, but not later than
 * half of what is left until anybody's deadline. INT64_MAX of an empty queue.
 */
int64_t qd_queue_due_us(const struct qd_queue *queue, int64_t delay_us);

/*
 * Takes out the requests that are late, or whose client has been gone for grace_us (that it has stopped sending is all
 * that can be seen, and some do that while they wait for their answer): their pictures that have not started are
 * answered with QD_DEADLINE or QD_CANCELLED and count as finished. Returns the requests that are finished with that,
 * linked by `more`. *ret_n_late, *ret_n_gone: requests of each kind.
 */
struct qd_request *qd_queue_sweep(struct qd_queue *queue, int64_t now_us, int64_t grace_us, int *ret_n_late,
                                  int *ret_n_gone);

/* Takes out all of them, answered with status and text. Returned as by qd_queue_sweep. */
struct qd_request *qd_queue_clear(struct qd_queue *queue, enum qd_status status, const char *text);

#endif

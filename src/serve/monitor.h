/*
 * The monitor: one of so many served pictures (monitor_every) runs in fp32 too, beside serving, and what it shows
 * (quant/live.h; quantd_shadow_*, quantd_drift, quantd_layer_* in /metrics) stays with its model until that goes. Runners put pictures into a box of a few places; one thread at the lowest priority
 * takes them out. A full box means that the picture is dropped and counted. Nobody ever waits for that thread: the box
 * has no lock that it could hold when the scheduler takes the core from it.
 */
#ifndef QD_SERVE_MONITOR_H
#define QD_SERVE_MONITOR_H

#include "serve/model.h"

struct qd_metrics;
struct qd_monitor;

/* A picture on its way into the box. */
struct qd_sample {
    uint8_t *pixels; /* what the network's input was, to be filled */
    size_t pixels_bytes;
    float *answer; /* output 0 of the int8 run, to be filled */
    size_t answer_bytes;
};

/* every: at least 1. */
enum qd_status qd_monitor_new(int every, struct qd_monitor **ret, struct qd_error *err);
/* Takes no more pictures and gives up the one under way; does not wait for that. NULL is fine. */
void qd_monitor_end(struct qd_monitor *monitor);
/* Ends and frees it; nobody may use it any more. NULL is fine. */
void qd_monitor_free(struct qd_monitor *monitor);

/*
 * For each served picture of the model: NULL where it is not its turn, there is no room (counted in metrics), or
 * monitor is NULL. Else a sample, which qd_monitor_put takes back in any case: filled, or not (is_good false).
 */
struct qd_sample *qd_monitor_pick(struct qd_monitor *monitor, struct qd_model *model, struct qd_metrics *metrics);
void qd_monitor_put(struct qd_monitor *monitor, struct qd_sample *sample, bool is_good);

/*
 * Gives back what waits of models that are retired (model->is_retired); the one under way gives up by itself. Returns
 * whether one is under way: then it is worth another call. For threads of ordinary priority.
 */
bool qd_monitor_forget_retired(struct qd_monitor *monitor);

#endif

/*
 * The metrics: one struct of atomics, one table that says what each is, one printer in Prometheus' text format. Any
 * thread writes; a scrape reads without a lock.
 */
#ifndef QD_SERVE_METRICS_H
#define QD_SERVE_METRICS_H

#include <stdatomic.h>

#include "serve/request.h"

#define QD_HISTOGRAM_BUCKETS 24

/* Counts over fixed bounds; the sum in the unit of what was observed. */
struct qd_metric_histogram {
    atomic_ullong buckets[QD_HISTOGRAM_BUCKETS + 1];
    atomic_ullong sum;
};

enum qd_stage { QD_STAGE_QUEUE, QD_STAGE_DECODE, QD_STAGE_COMPUTE, QD_STAGE_RESPOND, QD_N_STAGES };
enum qd_reject { QD_REJECT_FULL, QD_REJECT_DEADLINE, QD_REJECT_UNAVAILABLE, QD_REJECT_INVALID, QD_REJECT_GONE, QD_N_REJECTS };

#define QD_N_CODES 600

/* Of one model name; lives as long as the process, whatever generations come and go. */
struct qd_metrics {
    atomic_ullong requests[QD_N_CODES]; /* by HTTP status */
    atomic_ullong images;
    atomic_ullong rejected[QD_N_REJECTS];
    atomic_llong queue_images;
    atomic_ullong shadow_images, shadow_agreements, shadow_dropped; /* see monitor.h */
    struct qd_metric_histogram request_us, stage_us[QD_N_STAGES], batch_size;
};

/* What V2's statistics say of one version of a model. */
struct qd_version_stats {
    struct {
        atomic_ullong n, us;
    } succeeded, failed, queue, respond; /* requests; respond: of those, writing the answer */
    struct {
        atomic_ullong n, decode_us, compute_us;
    } batches[QD_MAX_BATCH + 1]; /* by size */
    atomic_llong last_inference_unix_us;
};

/* Adds one observation. Bounds of times double from 100 us; those of batch sizes from 1. */
void qd_metrics_observe_us(struct qd_metric_histogram *histogram, int64_t us);
void qd_metrics_observe_size(struct qd_metric_histogram *histogram, int size);
struct qd_entry;

/* One run of n pictures. */
void qd_metrics_observe_batch(struct qd_entry *entry, int n, int64_t decode_us, int64_t compute_us);
/* One answered request, and what of its time it waited in the queue. */
void qd_metrics_observe_request(struct qd_entry *entry, int http_status, int64_t us, int64_t queue_us);
/* Writing one answer. */
void qd_metrics_observe_respond(struct qd_entry *entry, int64_t us);

struct qd_registry;

/* The whole page. */
enum qd_status qd_metrics_print(struct qd_registry *registry, const char *isa, struct qd_buf *out, struct qd_error *err);

#endif

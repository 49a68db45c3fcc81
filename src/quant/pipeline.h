/*
 * From a graph and pictures to something that can serve: cache or calibration, gate, report. What `serve`, `calibrate`
 * and `evaluate` share.
 */
#ifndef QD_QUANT_PIPELINE_H
#define QD_QUANT_PIPELINE_H

#include "quant/cache.h"
#include "quant/evaluate.h"

struct qd_pipeline_options {
    const struct qd_method *method; /* NULL: the scales are the graph's own, see given.h */
    struct qd_calibration_form form;
    unsigned skipped_stages; /* see refine.h */
    int n_threads;
    int max_batch;        /* of the serving plan */
    size_t max_images;    /* of calibration; 0: all */
    double min_agreement; /* the gate */
    double min_sqnr_db;   /* -INFINITY: none */
    const struct qd_kernels *kernels;
    const struct qd_preprocess *preprocess;
    struct qd_image_limits limits;
    struct qd_hash model_hash;
    const char *settings;               /* further text for the cache key, never NULL */
    const char *cache_folder;           /* or NULL: no cache */
    bool ignore_cache;                  /* calibrate anew (the result is still saved) */
    const char *entry;                  /* of the cache: its scales, whatever the key; or NULL */
    bool entry_only;                    /* fail without that entry, rather than go by the key */
    const struct qd_progress *progress; /* or NULL; its work is the pipeline's own */
};

#define QD_MAX_WARNINGS 8
#define QD_WARNING_SIZE (QD_ERROR_TEXT_SIZE + 128)

struct qd_pipeline_result {
    struct qd_scales *scales; /* applied to the graph */
    struct qd_plan *int8;
    bool from_cache, from_entry;
    double seconds; /* of calibration and gate */
    /* What the caller should log: an ignored cache entry, an unwritable cache; pictures skipped, double, too few. */
    char warnings[QD_MAX_WARNINGS][QD_WARNING_SIZE];
    int n_warnings;
};

/*
 * Where the scales are the graph's own, no picture is needed: those that there are serve the gate, which compares the
 * int8 plan with what the file means (a float run that rounds where the file does), and without any it lets all pass.
 * Else the image set is split by content: a quarter (hash byte 0 divisible by 4) is the gate's, the rest calibrates; a
 * set too small to split (fewer than 8), or whose quarter cannot be read, serves as both. The result is good whether or
 * not the gate passed: scales->gate_passed.
 */
enum qd_status qd_pipeline_run(struct qd_graph *graph, const struct qd_image_set *images,
                               const struct qd_pipeline_options *options, struct qd_pipeline_result *ret,
                               struct qd_error *err);

/*
 * The same network in float, for images as many, to compare int8 with. It holds the weights once more, packed: free it
 * when that is done. QD_NO_MEMORY.
 */
enum qd_status qd_pipeline_fp32(const struct qd_plan *int8, struct qd_plan **ret, struct qd_error *err);

/* The key that the scales of this image set go by in the cache. QD_NO_MEMORY. */
enum qd_status qd_pipeline_key(const struct qd_image_set *images, const struct qd_pipeline_options *options,
                               char ret_hex[QD_HASH_HEX_SIZE], struct qd_error *err);

/* The gate's rule. */
bool qd_gate_passes(double min_agreement, double min_sqnr_db, const struct qd_accuracy *accuracy);
void qd_pipeline_result_done(struct qd_pipeline_result *result);

#endif

/*
 * A model, loaded and calibrated: one generation of scales with its plans. Shared by reference count: a request holds a
 * reference, so a swap never takes a model from under it. Immutable once made, but for what is learnt while it serves
 * (the last fields), which is atomic.
 */
#ifndef QD_SERVE_MODEL_H
#define QD_SERVE_MODEL_H

#include <stdatomic.h>

#include "quant/generations.h"
#include "quant/live.h"
#include "quant/pipeline.h"
#include "serve/model_config.h"

enum qd_evaluation_state { QD_NOT_EVALUATED, QD_EVALUATED, QD_EVALUATION_FAILED };

struct qd_model {
    struct qd_model_config config;
    struct qd_graph *graph;
    struct qd_pipeline_result result;
    int generation;                    /* 1 for the first scales; other scales of this model have another number */
    struct qd_generations generations; /* what is kept of them, see quant/generations.h */
    int64_t loaded_unix_us, calibrated_unix_us;
    double load_seconds;
    const char *profile;           /* the name of the one that calibrated it */
    bool forgets_scales;           /* the network was quantized, but these scales are a calibration's */
    bool synthetic;                /* calibrated on made-up pictures, because there is no image set */
    uint8_t *free_dims; /* by output, bit d: dimension d depends on the picture's size; NULL: none does (or not served) */
    /* private */
    atomic_int n_refs;
    atomic_int n_requests; /* that wait for it or run on it: batcher.c's */
    char *images_folder;   /* what calibrated it */
    char base_key[QD_HASH_HEX_SIZE]; /* of its generations; empty: it was not loaded to be served */
    int entry_generation;            /* the one that was asked for; result.from_entry: and found */
    bool is_recalibration;
    char scales_sum[QD_HASH_HEX_SIZE]; /* equal for equal scales; with base_key only */
    char warning[QD_WARNING_SIZE];     /* about its generations, or empty */
    struct qd_hash hash;               /* of its file and external data */
    struct qd_model *base;             /* of qd_model_resized: whose scales it has; a reference */
    /* learnt while it serves */
    atomic_bool is_retired;         /* another has taken its place, or it was unloaded: it does not come back */
    atomic_int evaluation_state;    /* enum qd_evaluation_state */
    struct qd_accuracy evaluation;  /* read it by qd_model_evaluation */
    _Atomic(struct qd_live *) live; /* what the monitor saw of it; NULL before its first picture */
    atomic_bool has_no_live;        /* the monitor's: it cannot be made */
    atomic_ullong n_served;         /* pictures that the monitor could choose from */
};

/* As a generation: the one before that which serves. */
#define QD_GENERATION_BEFORE (-1)

struct qd_model_options {
    int n_threads, max_batch;
    const struct qd_kernels *kernels;
    const char *cache_folder; /* or NULL */
    struct qd_image_limits limits;
    const char *method;     /* NULL: the model's own: model.json's, or the scales of a quantized network, or adlq */
    const char *images;     /* NULL: the model's own calibration folder */
    size_t max_images;      /* 0: the model's own */
    int version;            /* 0: the highest */
    const char *name;       /* that it is served by; NULL: the name of its folder */
    bool keeps_generations; /* to be served: the kept generation that served last, or the one below */
    int generation;         /* of those kept, and nothing else; QD_GENERATION_BEFORE; 0: the one that served last */
    int serving_generation; /* what QD_GENERATION_BEFORE is before; 0: the kept one that served last */
    bool entry_only;        /* of a kept generation: fail without its scales; then no pictures are needed */
    bool ignores_kept;      /* no kept generation, though new ones are kept */
    bool ignore_cache;
    bool ignore_gate;        /* keep the model even where gate.required refuses it: to compare */
    bool allow_synthetic;    /* no image set: calibrate on seeded made-up pictures (bench, inspect) */
    bool standard_graph;     /* only the passes whose result has an ONNX form: for export */
    unsigned skipped_stages; /* of adlq: see refine.h */
    const char *profile;     /* NULL: the model's own; the bits below are then the profile's, or as given */
    int weight_bits, activation_bits, multiplier_bits; /* 0: the model's own */
    const struct qd_progress *progress;
};

/*
 * Loads, calibrates (or takes cached scales) and gates. The model has one reference. What goes in is a folder or a bare
 * .onnx file; every error names the model.
 */
enum qd_status qd_model_load(const char *path, const struct qd_model_options *options, struct qd_model **ret,
                             struct qd_error *err);

/*
 * The same model, its scales with it, for pictures of another size: a graph and a plan of its own.
 * Its preprocessing stretches pictures to h x w. QD_INVALID: the network's height or width is fixed, or its values at
 * that size are not those that were calibrated. QD_CONFLICT: the file has changed since the model was loaded.
 */
enum qd_status qd_model_resized(struct qd_model *base, int h, int w, const struct qd_model_options *options,
                                struct qd_model **ret, struct qd_error *err);

struct qd_model *qd_model_ref(struct qd_model *model);
void qd_model_unref(struct qd_model *model); /* NULL is fine */

/* Only the graph, after passes, and the resolved configuration: for inspect. The model is not calibrated. */
enum qd_status qd_model_load_graph(const char *path, struct qd_model **ret, struct qd_error *err);

/* Of the model's evaluation pictures; NULL: they have not been run, or there are none. */
const struct qd_accuracy *qd_model_evaluation(const struct qd_model *model);
/* Whether somebody has tried. */
bool qd_model_is_evaluated(const struct qd_model *model);
/* By one thread, once; NULL: it failed. */
void qd_model_set_evaluation(struct qd_model *model, const struct qd_accuracy *accuracy);

/* The label of a class, or NULL. */
const char *qd_model_label(const struct qd_model *model, int64_t class_index);

/* Evaluates on the model's evaluation set, or on images/labels where given. limit 0: all. */
enum qd_status qd_model_evaluate(const struct qd_model *model, const char *images, const char *labels, size_t limit,
                                 const struct qd_model_options *options, struct qd_accuracy *ret, struct qd_error *err);

#endif

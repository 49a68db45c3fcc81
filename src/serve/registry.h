/*
 * The models that are served: by name, each with its current generation, its batcher and its metrics. Swaps are atomic:
 * whoever holds a model keeps it, whoever asks next gets the new one. Thread-safe; the lock lives in registry.c.
 */
#ifndef QD_SERVE_REGISTRY_H
#define QD_SERVE_REGISTRY_H

#include "serve/batcher.h"
#include "serve/metrics.h"
#include "serve/model.h"

struct qd_registry;

struct qd_serve_options {
    struct qd_model_options model; /* threads, kernels, cache, limits */
    int n_runners;
    int max_delay_us;
    int queue_limit;
    int deadline_ms;
};

/* What the registry holds of one model name; lives until the registry is freed. */
struct qd_entry {
    char name[QD_MODEL_NAME_SIZE];
    char *path;
    struct qd_metrics metrics;
    struct qd_batcher *batcher;
    /* private to registry.c */
    struct qd_model *model; /* NULL while it loads for the first time */
    char load_error[QD_ERROR_TEXT_SIZE];
    bool known_answers_ok;
};

enum qd_status qd_registry_new(const struct qd_serve_options *options, struct qd_registry **ret, struct qd_error *err);
/* Stops the batchers: requests in the queues are answered QD_UNAVAILABLE, new ones must not come. */
void qd_registry_stop(struct qd_registry *registry);
/* Frees everything; stops first. NULL is fine. */
void qd_registry_free(struct qd_registry *registry);

/*
 * Lists the repository (every sub-folder with a model; or the folder itself where it is one) and makes an entry for
 * each; nothing is loaded. QD_NOT_FOUND: no model there.
 */
enum qd_status qd_registry_add_folder(struct qd_registry *registry, const char *folder, struct qd_error *err);

/*
 * Loads an entry's model (again), calibrating if there are no cached scales, and puts it in place when it is good. A
 * failure leaves the old one serving. options may be NULL (the registry's own) or change method, images, cache use.
 */
enum qd_status qd_registry_load(struct qd_registry *registry, struct qd_entry *entry,
                                const struct qd_model_options *options, struct qd_error *err);

/* The options that loads start from. */
const struct qd_serve_options *qd_registry_options(const struct qd_registry *registry);

/* The entry of that name; name NULL: the only one. QD_NOT_FOUND lists the known names. */
enum qd_status qd_registry_find(struct qd_registry *registry, const char *name, struct qd_entry **ret,
                                struct qd_error *err);
int qd_registry_n_entries(const struct qd_registry *registry);
struct qd_entry *qd_registry_entry(const struct qd_registry *registry, int i);

/* A reference to the current model, or NULL while none has loaded. The caller unrefs it. */
struct qd_model *qd_entry_model(struct qd_entry *entry);

/* Copies why the last load failed, or makes it empty. */
void qd_entry_error(struct qd_entry *entry, char text[QD_ERROR_TEXT_SIZE]);

/*
 * True when no entry waits for its first load any more and at least one serves, its known answers checked: a broken model
 * in the repository does not take the others out of service.
 */
bool qd_registry_is_ready(struct qd_registry *registry);

#endif

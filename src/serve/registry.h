/*
 * The models that are served: by name and version, each with its current generation and its batcher; the versions of a
 * name share metrics. Swaps are atomic: whoever holds a model keeps it, whoever asks next gets the new one. What lies
 * in the repository's folder is repository.h's business. Thread-safe; the locks live in registry.c.
 */
#ifndef QD_SERVE_REGISTRY_H
#define QD_SERVE_REGISTRY_H

#include <pthread.h>

#include "serve/batcher.h"
#include "serve/generation.h"
#include "serve/metrics.h"
#include "serve/model.h"

/* As a version: the highest in the repository, loaded or not. */
#define QD_VERSION_HIGHEST (-1)

struct qd_registry;
struct qd_name;

struct qd_serve_options {
    const char *repository;        /* the folder; it outlives the registry */
    struct qd_model_options model; /* threads, kernels, cache, limits */
    int calibration_threads;       /* of what is loaded or calibrated beside serving; 0: all */
    int n_runners;
    int max_delay_us;
    int queue_limit;
    int deadline_ms;
    int monitor_every; /* one of so many pictures, see monitor.h; 0: none */
};

/* One version of a model; lives until the registry is freed, whatever becomes of its folder. */
struct qd_entry {
    char name[QD_MODEL_NAME_SIZE];
    int version;
    const char *path;           /* of the model's folder */
    struct qd_metrics *metrics; /* of the name */
    struct qd_version_stats stats;
    struct qd_batcher *batcher; /* there once a model was */
    /* private to registry.c */
    struct qd_name *of;
    struct qd_model *model; /* NULL: none serves */
    char load_error[QD_ERROR_TEXT_SIZE];
    struct qd_hash fingerprint;    /* of its files, when they were last read */
    pthread_mutex_t load_lock;     /* held by whoever loads it */
    struct qd_given_numbers given; /* guarded by load_lock */
    bool is_loading;
    bool is_awaited; /* somebody will load it soon */
    bool is_asked;   /* by its number: it stays when a higher one takes over */
    bool is_off;     /* unloaded by hand: only a load brings it back */
    bool is_gone;    /* the folder */
    unsigned n_unloads;
};

enum qd_entry_state { QD_ENTRY_UNLOADED, QD_ENTRY_LOADING, QD_ENTRY_READY, QD_ENTRY_FAILED, QD_ENTRY_GONE };

/* A copy of how an entry does. */
struct qd_entry_status {
    enum qd_entry_state state;       /* READY: a model serves, even if another is being loaded or could not be */
    bool is_served;                  /* by default, of the versions of its name */
    bool is_highest;                 /* of those in the repository */
    bool is_off, is_gone;            /* as in struct qd_entry */
    struct qd_hash fingerprint;      /* of what was read then */
    char reason[QD_ERROR_TEXT_SIZE]; /* why it does not serve, or why its last load failed; or empty */
};

/* "unloaded", "loading", "ready", ... */
const char *qd_entry_state_name(enum qd_entry_state state);

enum qd_status qd_registry_new(const struct qd_serve_options *options, struct qd_registry **ret, struct qd_error *err);
/* What serves goes on; the monitor, which only looks on, ends. */
void qd_registry_drain(struct qd_registry *registry);
/* Stops the batchers: requests in the queues are answered QD_UNAVAILABLE, new ones must not come. */
void qd_registry_stop(struct qd_registry *registry);
/* Frees everything; stops first. NULL is fine. */
void qd_registry_free(struct qd_registry *registry);

/* The options that loads start from. */
const struct qd_serve_options *qd_registry_options(const struct qd_registry *registry);

/*
 * Says which versions of a name lie in the repository, n 0: none any more. New ones become entries (nothing is loaded),
 * others are marked as gone and serve on. QD_TOO_LARGE: too many that are there; QD_INVALID: not a name.
 */
enum qd_status qd_registry_set_versions(struct qd_registry *registry, const char *name, const char *path,
                                        const int *versions, int n, struct qd_error *err);

/*
 * Loads an entry's model (again), calibrating if there are no scales for it, and puts it in place when it is good; of
 * the lower versions, those go that nobody asked for by number. A failure leaves the old one serving. Two loads of one
 * entry come one after the other. options may be NULL (the registry's own) or change method, images, cache use, and
 * which generation of scales. QD_CANCELLED: it was unloaded meanwhile,
 * while it waited, too.
 */
enum qd_status qd_registry_load(struct qd_registry *registry, struct qd_entry *entry,
                                const struct qd_model_options *options, struct qd_error *err);

/*
 * The same for a load that nobody asked for: not of what was unloaded by hand (*ret is QD_CANCELLED then). Returns
 * false, and loads nothing, where the entry is being loaded by somebody else and this is not to wait for it.
 */
bool qd_registry_refresh(struct qd_registry *registry, struct qd_entry *entry, const struct qd_model_options *options,
                         bool waits, enum qd_status *ret, struct qd_error *err);

/* Takes an entry's model out of service at once; requests that hold it finish. is_off: until it is loaded by hand. */
void qd_registry_unload(struct qd_registry *registry, struct qd_entry *entry, bool is_off);

/* The entry is loaded by hand now, or will be by somebody before long. */
void qd_registry_expect(struct qd_registry *registry, struct qd_entry *entry);

/*
 * The entry of that name; name NULL: the only one. version 0: the one that is served by default, the highest that is
 * loaded. QD_NOT_FOUND names the nearest name, or the versions that there are.
 */
enum qd_status qd_registry_find(struct qd_registry *registry, const char *name, int version, struct qd_entry **ret,
                                struct qd_error *err);

/*
 * The same for a request that wants to run: with a reference to the model, in one step, so that no swap comes between.
 * QD_UNAVAILABLE says why none serves (*ret_entry is set then, too). The first request for a version that is not loaded
 * has it loaded.
 */
enum qd_status qd_registry_use(struct qd_registry *registry, const char *name, int version, struct qd_entry **ret_entry,
                               struct qd_model **ret_model, struct qd_error *err);

/* load is called, by any thread, for a version that a request asked for; false: it cannot be loaded now. */
void qd_registry_set_loader(struct qd_registry *registry, bool (*load)(void *context, struct qd_entry *entry),
                            void *context);

int qd_registry_n_entries(struct qd_registry *registry);
struct qd_entry *qd_registry_entry(struct qd_registry *registry, int i);

/* A reference to the current model, or NULL while none serves. The caller unrefs it. */
struct qd_model *qd_entry_model(struct qd_entry *entry);

void qd_entry_status(struct qd_entry *entry, struct qd_entry_status *ret);

/*
 * True once no entry waits for its first load any more and at least one serves: a broken model in the repository does
 * not take the others out of service, nor does one that comes later.
 */
bool qd_registry_is_ready(struct qd_registry *registry);

#endif

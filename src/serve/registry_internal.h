/* What the files of the registry share: registry.c (names, versions, look-up) and registry_load.c. */
#ifndef QD_SERVE_REGISTRY_INTERNAL_H
#define QD_SERVE_REGISTRY_INTERNAL_H

#include "serve/monitor.h"
#include "serve/registry.h"

/* Versions that are in the repository or serve. Of those that came and went, about 1.5 kB each stay. */
#define QD_MAX_ENTRIES 1024

/* The versions of a model. */
struct qd_name {
    char text[QD_MODEL_NAME_SIZE];
    char *path;
    struct qd_metrics metrics;
    struct qd_entry *served; /* by default */
    int highest;             /* version in the repository, 0: none */
};

struct qd_registry {
    struct qd_serve_options options;
    struct qd_pool *pool;
    struct qd_monitor *monitor; /* NULL: none */
    struct qd_name **names;
    struct qd_entry **entries;
    size_t names_capacity, entries_capacity;
    int n_names, n_entries;
    bool was_ready;
    bool (*load)(void *context, struct qd_entry *entry);
    void *load_context;
};

/* Guards all of the registry but load_lock; held for moments only. */
extern pthread_mutex_t qd_models_lock;

/* What serves by default: the highest version that is loaded, else the highest in the repository, else any. The lock is held. */
void qd_registry_choose_served(struct qd_registry *registry, struct qd_name *name);

/* Whether it is ready; noted at each change, so that it does not depend on who asks when. The lock is held. */
bool qd_registry_note_ready(struct qd_registry *registry);

#endif

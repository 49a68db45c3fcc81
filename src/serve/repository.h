/*
 * The model repository's folder and the registry together: what lies there becomes entries, what is to serve is loaded,
 * what vanished goes. The highest version of each model serves; others are loaded when they are asked for. Any thread;
 * two at once do no harm.
 */
#ifndef QD_SERVE_REPOSITORY_H
#define QD_SERVE_REPOSITORY_H

#include "serve/registry.h"

/*
 * Makes entries of all that lies in the folder of the registry's options: one model, or sub-folders that are models
 * (symbolic links too). Nothing is loaded. QD_NOT_FOUND: no such folder (then all stays as it was), or no model in it.
 */
enum qd_status qd_repository_scan(struct qd_registry *registry, struct qd_error *err);

/* The same for the entries of one name. QD_NOT_FOUND: neither there nor known. */
enum qd_status qd_repository_scan_model(struct qd_registry *registry, const char *name, struct qd_error *err);

/* Says that the highest versions are about to be loaded: nothing is ready before. */
void qd_repository_expect(struct qd_registry *registry);

/* Which of the models that serve are read again. */
enum qd_reload { QD_RELOAD_ALL, QD_RELOAD_CHANGED };

struct qd_refresh_result {
    int n_loaded, n_wanted; /* of what was to be read */
    int n_serving;          /* models, afterwards */
};

/*
 * Scans, loads what is to serve (not what was unloaded by hand), and unloads what vanished; a failed scan or load
 * leaves everything that serves as it is. CHANGED: only what is new, or whose files changed since they were read.
 * options as for qd_registry_load; where their progress says stop, the rest is left.
 */
enum qd_status qd_repository_refresh(struct qd_registry *registry, enum qd_reload reload,
                                     const struct qd_model_options *options, struct qd_refresh_result *ret,
                                     struct qd_error *err);

/* Loads a model by hand: version 0: the highest in the repository. */
enum qd_status qd_repository_load(struct qd_registry *registry, const char *name, int version,
                                  const struct qd_model_options *options, struct qd_error *err);

/* Unloads a version by hand, or all of a model (version 0). QD_NOT_FOUND: no such model or version. */
enum qd_status qd_repository_unload(struct qd_registry *registry, const char *name, int version, struct qd_error *err);

#endif

#include "serve/registry.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "quant/given.h"
#include "serve/versions.h"
#include "util/log.h"
#include "util/name.h"

#define MAX_ENTRIES 1024

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
    struct qd_name *names[MAX_ENTRIES];
    struct qd_entry *entries[MAX_ENTRIES];
    int n_names, n_entries;
    bool was_ready;
    bool (*load)(void *context, struct qd_entry *entry);
    void *load_context;
};

/* Guards all of the registry but load_lock; held for moments only. */
static pthread_mutex_t models_lock = PTHREAD_MUTEX_INITIALIZER;

const char *qd_entry_state_name(enum qd_entry_state state)
{
    static const char *const names[] = {"unloaded", "loading", "ready", "failed", "gone"};

    return names[state];
}

enum qd_status qd_registry_new(const struct qd_serve_options *options, struct qd_registry **ret, struct qd_error *err)
{
    struct qd_registry *registry = qd_alloc(sizeof(*registry));
    struct qd_batcher_options batcher = {.n_runners = options->n_runners,
                                         .model = options->model,
                                         .max_delay_us = options->max_delay_us,
                                         .queue_limit = options->queue_limit,
                                         .deadline_ms = options->deadline_ms};
    enum qd_status status;

    if (!registry)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for the registry");
    registry->options = *options;
    status = qd_pool_new(&batcher, &registry->pool, err);
    if (status != QD_OK) {
        qd_free(registry);
        return status;
    }
    *ret = registry;
    return QD_OK;
}

void qd_registry_stop(struct qd_registry *registry)
{
    if (registry)
        qd_pool_stop(registry->pool);
}

void qd_registry_free(struct qd_registry *registry)
{
    if (!registry)
        return;
    qd_pool_free(registry->pool);
    for (int i = 0; i < registry->n_entries; i++) {
        qd_model_unref(registry->entries[i]->model);
        pthread_mutex_destroy(&registry->entries[i]->load_lock);
        qd_free(registry->entries[i]);
    }
    for (int i = 0; i < registry->n_names; i++) {
        qd_free(registry->names[i]->path);
        qd_free(registry->names[i]);
    }
    qd_free(registry);
}

const struct qd_serve_options *qd_registry_options(const struct qd_registry *registry)
{
    return &registry->options;
}

void qd_registry_set_loader(struct qd_registry *registry, bool (*load)(void *context, struct qd_entry *entry),
                            void *context)
{
    pthread_mutex_lock(&models_lock);
    registry->load = load;
    registry->load_context = context;
    pthread_mutex_unlock(&models_lock);
}

/* The highest version that is loaded, else the highest in the repository, else any. The lock is held. */
static void choose_served(struct qd_registry *registry, struct qd_name *name)
{
    struct qd_entry *best = NULL;

    for (int i = 0; i < registry->n_entries; i++) {
        struct qd_entry *entry = registry->entries[i];
        int better;

        if (entry->of != name)
            continue;
        better = !best ? 1 : (entry->model != NULL) - (best->model != NULL);
        better = better ? better : best->is_gone - entry->is_gone;
        better = better ? better : entry->version - best->version;
        best = better > 0 ? entry : best;
    }
    name->served = best;
}

static struct qd_name *find_name(struct qd_registry *registry, const char *name)
{
    for (int i = 0; i < registry->n_names; i++)
        if (strcmp(registry->names[i]->text, name) == 0)
            return registry->names[i];
    return NULL;
}

static struct qd_entry *find_version(struct qd_registry *registry, const struct qd_name *name, int version)
{
    for (int i = 0; i < registry->n_entries; i++)
        if (registry->entries[i]->of == name && registry->entries[i]->version == version)
            return registry->entries[i];
    return NULL;
}

/* The lock is held. */
static enum qd_status add_name(struct qd_registry *registry, const char *text, const char *path, struct qd_name **ret,
                               struct qd_error *err)
{
    struct qd_name *name;

    if (registry->n_names == MAX_ENTRIES)
        return qd_error_set(err, QD_TOO_LARGE, "expected at most %d models", MAX_ENTRIES);
    name = qd_alloc(sizeof(*name));
    if (!name || !(name->path = qd_strdup(path))) {
        qd_free(name);
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a model");
    }
    snprintf(name->text, sizeof(name->text), "%s", text);
    registry->names[registry->n_names++] = *ret = name;
    return QD_OK;
}

/* The lock is held. */
static enum qd_status add_entry(struct qd_registry *registry, struct qd_name *name, int version, struct qd_error *err)
{
    struct qd_entry *entry;

    if (registry->n_entries == MAX_ENTRIES)
        return qd_error_set(err, QD_TOO_LARGE, "expected at most %d versions of models", MAX_ENTRIES);
    entry = qd_alloc(sizeof(*entry));
    if (!entry)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a model");
    memcpy(entry->name, name->text, sizeof(entry->name));
    entry->version = version;
    entry->path = name->path;
    entry->metrics = &name->metrics;
    entry->of = name;
    /* A model that was unloaded by hand does not come back because a version is added to it. */
    entry->is_off = name->served && name->served->is_off && !name->served->model;
    pthread_mutex_init(&entry->load_lock, NULL);
    registry->entries[registry->n_entries++] = entry;
    return QD_OK;
}

enum qd_status qd_registry_set_versions(struct qd_registry *registry, const char *text, const char *path,
                                        const int *versions, int n, struct qd_error *err)
{
    struct qd_name *name;
    enum qd_status status = qd_model_name_check(text, err);

    if (status != QD_OK)
        return status;
    pthread_mutex_lock(&models_lock);
    name = find_name(registry, text);
    if (!name && n)
        status = add_name(registry, text, path, &name, err);
    for (int i = 0; i < registry->n_entries && name; i++)
        if (registry->entries[i]->of == name)
            registry->entries[i]->is_gone = true;
    for (int i = 0; i < n && name; i++) {
        if (status == QD_OK && !find_version(registry, name, versions[i]))
            status = add_entry(registry, name, versions[i], err);
        if (find_version(registry, name, versions[i]))
            find_version(registry, name, versions[i])->is_gone = false;
    }
    if (name) {
        name->highest = 0;
        for (int i = 0; i < n; i++)
            name->highest = versions[i] > name->highest ? versions[i] : name->highest;
        for (int i = 0; i < registry->n_entries; i++)
            if (registry->entries[i]->of == name && registry->entries[i]->is_gone)
                registry->entries[i]->is_awaited = false;
        choose_served(registry, name);
    }
    pthread_mutex_unlock(&models_lock);
    return status;
}

static void log_model(const struct qd_model *model)
{
    const struct qd_scales *s = model->result.scales;

    if (model->warning[0])
        qd_log(QD_LOG_WARNING, "model '%s': %s", model->config.name, model->warning);
    for (int i = 0; i < model->result.n_warnings; i++)
        qd_log(QD_LOG_WARNING, "model '%s': %s", model->config.name, model->result.warnings[i]);
    qd_log(QD_LOG_INFO,
           "model '%s' version %d generation %d: scales %s by %s, agreement %.3f, SQNR %.1f dB, ready in %.2f s",
           model->config.name, model->config.version, model->generation,
           strcmp(s->method, QD_METHOD_GIVEN) == 0 ? "given"
           : model->result.from_cache              ? "from the cache"
                                                   : "calibrated",
           s->method, s->gate.agreement, s->gate.sqnr_db, model->load_seconds);
    if (!s->gate_passed)
        qd_log(QD_LOG_WARNING, "model '%s': gate: failed: %s", model->config.name, s->gate_text);
}

/*
 * A new generation that fails the gate does not replace one that serves. One that was chosen by number, or that serves
 * already, is not judged again.
 */
static enum qd_status judge(const struct qd_model *fresh, const struct qd_model *old,
                            const struct qd_model_options *options, struct qd_error *err)
{
    if (old && !options->generation && fresh->generation != old->generation && !fresh->result.scales->gate_passed)
        return qd_error_set(err, QD_CONFLICT, "the gate refused the new scales, the old ones stay: %s",
                            fresh->result.scales->gate_text);
    return QD_OK;
}

static enum qd_status make_batcher(struct qd_registry *registry, struct qd_entry *entry, struct qd_error *err)
{
    /* Only whoever holds load_lock gets here; others look at it only once a model was there. */
    return entry->batcher ? QD_OK : qd_batcher_new(registry->pool, entry, &entry->batcher, err);
}

/* The lock is held. */
static enum qd_status check_unloads(const struct qd_entry *entry, unsigned n_unloads, struct qd_error *err)
{
    return n_unloads == entry->n_unloads
               ? QD_OK
               : qd_error_set(err, QD_CANCELLED, "model '%s' version %d was unloaded while it was being loaded",
                              entry->name, entry->version);
}

/* All that a load does beside the entry: nothing that serves changes yet. */
static enum qd_status make_model(struct qd_registry *registry, struct qd_entry *entry,
                                 const struct qd_model_options *options, const struct qd_model *old, unsigned n_unloads,
                                 struct qd_model **ret, struct qd_error *err)
{
    struct qd_model_options own = *options;
    struct qd_error why = {""};
    struct qd_model *model;
    enum qd_status status = make_batcher(registry, entry, err);

    own.version = entry->version;
    own.name = entry->name;
    own.keeps_generations = true;
    own.serving_generation = old ? old->generation : 0;
    if (status == QD_OK)
        status = qd_model_load(entry->path, &own, &model, err);
    if (status != QD_OK)
        return status;
    /* A repository of one model may be called "."; only the registry knows better. */
    memcpy(model->config.name, entry->name, sizeof(model->config.name));
    qd_generation_number(model, &entry->given);
    status = judge(model, old, &own, err);
    if (status == QD_OK) {
        /* What is kept serves after a restart: not what was cancelled. */
        pthread_mutex_lock(&models_lock);
        status = check_unloads(entry, n_unloads, err);
        pthread_mutex_unlock(&models_lock);
    }
    if (status == QD_OK && qd_generation_keep(model, old, &own, &why) != QD_OK)
        qd_log(QD_LOG_WARNING, "model '%s': generation %d will not outlive a restart: %s", entry->name,
               model->generation, why.text);
    if (status == QD_OK)
        *ret = model;
    else
        qd_model_unref(model);
    return status;
}

/* Takes out the lower versions that nobody asked for; returns how many. The lock is held. */
static int retire(struct qd_registry *registry, const struct qd_entry *taking_over, struct qd_entry *ret[MAX_ENTRIES],
                  struct qd_model *ret_models[MAX_ENTRIES])
{
    int n = 0;

    for (int i = 0; i < registry->n_entries; i++) {
        struct qd_entry *entry = registry->entries[i];

        if (entry->of != taking_over->of || entry->version >= taking_over->version || entry->is_asked)
            continue;
        entry->n_unloads++; /* one that is being loaded does not come back, either */
        if (!entry->model)
            continue;
        ret[n] = entry;
        ret_models[n++] = entry->model;
        entry->model = NULL;
    }
    return n;
}

/* Whether it is ready; noted at each change, so that it does not depend on who asks when. The lock is held. */
static bool note_ready(struct qd_registry *registry)
{
    bool loading = false, serving = false;

    for (int i = 0; i < registry->n_entries; i++) {
        const struct qd_entry *entry = registry->entries[i];

        loading |= !entry->model && (entry->is_loading || entry->is_awaited);
        serving |= entry->model != NULL;
    }
    registry->was_ready = serving && (registry->was_ready || !loading);
    return registry->was_ready;
}

/* The model takes over, or the error stays with the entry where it is one of the model (is_noted). */
static enum qd_status put_in_place(struct qd_registry *registry, struct qd_entry *entry, struct qd_model *model,
                                   unsigned n_unloads, bool is_noted, enum qd_status status, struct qd_error *err)
{
    struct qd_entry *retired[MAX_ENTRIES];
    struct qd_model *models[MAX_ENTRIES], *old = NULL;
    int n = 0;

    pthread_mutex_lock(&models_lock);
    if (status == QD_OK)
        status = check_unloads(entry, n_unloads, err);
    if (status == QD_OK) {
        old = entry->model;
        entry->model = qd_model_ref(model);
        entry->load_error[0] = 0;
        n = retire(registry, entry, retired, models);
    } else if (status != QD_CANCELLED && is_noted) {
        memcpy(entry->load_error, err->text, sizeof(entry->load_error));
    }
    entry->is_loading = entry->is_awaited = false;
    choose_served(registry, entry->of);
    (void)note_ready(registry);
    pthread_mutex_unlock(&models_lock);
    qd_model_unref(old);
    qd_batcher_refresh(entry->batcher);
    for (int i = 0; i < n; i++) {
        qd_model_unref(models[i]);
        qd_batcher_refresh(retired[i]->batcher);
        qd_log(QD_LOG_INFO, "model '%s' version %d takes the place of version %d", entry->name, entry->version,
               retired[i]->version);
    }
    return status;
}

/* load_lock is held. n_unloads is from before it was waited for: an unload cancels the loads that wait, too. */
static enum qd_status load_locked(struct qd_registry *registry, struct qd_entry *entry,
                                  const struct qd_model_options *options, unsigned n_unloads, struct qd_error *err)
{
    struct qd_model *model = NULL, *old;
    struct qd_error why = {""};
    struct qd_hash fingerprint;
    enum qd_status status;

    fingerprint = qd_version_fingerprint(entry->path, entry->version);
    pthread_mutex_lock(&models_lock);
    status = check_unloads(entry, n_unloads, &why);
    entry->is_loading = status == QD_OK;
    entry->fingerprint = status == QD_OK ? fingerprint : entry->fingerprint;
    pthread_mutex_unlock(&models_lock);
    old = qd_entry_model(entry);
    options = options ? options : &registry->options.model;
    if (status == QD_OK)
        status = make_model(registry, entry, options, old, n_unloads, &model, &why);
    qd_model_unref(old);
    status = put_in_place(registry, entry, model, n_unloads, !options->generation, status, &why);
    if (status == QD_OK) {
        qd_generation_note(model, &entry->given);
        log_model(model);
    } else {
        qd_log(status == QD_CANCELLED ? QD_LOG_NOTICE : QD_LOG_ERROR, "%s", why.text);
    }
    qd_model_unref(model);
    return status == QD_OK ? QD_OK : qd_error_set(err, status, "%s", why.text);
}

enum qd_status qd_registry_load(struct qd_registry *registry, struct qd_entry *entry,
                                const struct qd_model_options *options, struct qd_error *err)
{
    enum qd_status status;
    unsigned n_unloads;

    pthread_mutex_lock(&models_lock);
    n_unloads = entry->n_unloads;
    pthread_mutex_unlock(&models_lock);
    pthread_mutex_lock(&entry->load_lock);
    status = load_locked(registry, entry, options, n_unloads, err);
    pthread_mutex_unlock(&entry->load_lock);
    return status;
}

bool qd_registry_refresh(struct qd_registry *registry, struct qd_entry *entry, const struct qd_model_options *options,
                         bool waits, enum qd_status *ret, struct qd_error *err)
{
    unsigned n_unloads;
    bool is_off;

    pthread_mutex_lock(&models_lock);
    n_unloads = entry->n_unloads;
    is_off = entry->is_off;
    pthread_mutex_unlock(&models_lock);
    *ret = QD_CANCELLED;
    if (is_off)
        return true;
    if (pthread_mutex_trylock(&entry->load_lock) != 0) {
        if (!waits)
            return false;
        pthread_mutex_lock(&entry->load_lock);
    }
    *ret = load_locked(registry, entry, options, n_unloads, err);
    pthread_mutex_unlock(&entry->load_lock);
    return true;
}

void qd_registry_unload(struct qd_registry *registry, struct qd_entry *entry, bool is_off)
{
    struct qd_model *model;

    pthread_mutex_lock(&models_lock);
    model = entry->model;
    entry->model = NULL;
    entry->is_off = is_off;
    entry->is_asked = entry->is_awaited = false;
    entry->load_error[0] = 0;
    entry->n_unloads++;
    choose_served(registry, entry->of);
    (void)note_ready(registry);
    pthread_mutex_unlock(&models_lock);
    if (!model)
        return;
    qd_model_unref(model);
    qd_batcher_refresh(entry->batcher);
    qd_log(QD_LOG_INFO, "model '%s' version %d is unloaded", entry->name, entry->version);
}

void qd_registry_expect(struct qd_registry *registry, struct qd_entry *entry)
{
    (void)registry;
    pthread_mutex_lock(&models_lock);
    entry->is_off = false;
    entry->is_awaited = !entry->is_loading && !entry->model;
    entry->is_asked = entry->is_asked || entry->version < entry->of->highest;
    pthread_mutex_unlock(&models_lock);
}

/* What is there for people to see: in the repository, or still serving. */
static bool is_there(const struct qd_entry *entry)
{
    return !entry->is_gone || entry->model || entry->is_loading;
}

static enum qd_status fail_name(struct qd_registry *registry, const char *name, struct qd_error *err)
{
    const char *names[MAX_ENTRIES], *nearest;
    size_t n = 0;

    for (int i = 0; i < registry->n_names; i++)
        if (registry->names[i]->served && is_there(registry->names[i]->served))
            names[n++] = registry->names[i]->text;
    if (!name)
        return qd_error_set(err, QD_INVALID, "expected ?model=, for there are %zu models; GET /models lists them", n);
    nearest = qd_nearest_name(name, names, n);
    return qd_error_set(err, QD_NOT_FOUND, "unknown model '%.60s'%s%s%s; GET /models lists them", name,
                        nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
}

static enum qd_status fail_version(struct qd_registry *registry, const struct qd_name *name, int version,
                                   struct qd_error *err)
{
    char list[160] = "";
    size_t size = 0;

    for (int i = 0; i < registry->n_entries; i++) {
        const struct qd_entry *entry = registry->entries[i];

        if (entry->of == name && is_there(entry) && size + 16 < sizeof(list))
            size += (size_t)snprintf(list + size, sizeof(list) - size, "%s%d", size ? ", " : "", entry->version);
    }
    return qd_error_set(err, QD_NOT_FOUND, "model '%.60s' has no version %d; found: %s", name->text, version, list);
}

/* The lock is held. */
static enum qd_status find(struct qd_registry *registry, const char *text, int version, struct qd_entry **ret,
                           struct qd_error *err)
{
    struct qd_name *name = text ? find_name(registry, text) : NULL;
    struct qd_entry *entry;
    int n = 0;

    for (int i = 0; i < registry->n_names && !text; i++) {
        if (registry->names[i]->served && is_there(registry->names[i]->served)) {
            name = registry->names[i];
            n++;
        }
    }
    if (!name || n > 1 || !name->served || !is_there(name->served))
        return fail_name(registry, text, err);
    if (version == QD_VERSION_HIGHEST)
        version = name->highest;
    entry = version ? find_version(registry, name, version) : name->served;
    if (!entry || !is_there(entry))
        return fail_version(registry, name, version, err);
    *ret = entry;
    return QD_OK;
}

enum qd_status qd_registry_find(struct qd_registry *registry, const char *name, int version, struct qd_entry **ret,
                                struct qd_error *err)
{
    enum qd_status status;

    pthread_mutex_lock(&models_lock);
    status = find(registry, name, version, ret, err);
    pthread_mutex_unlock(&models_lock);
    return status;
}

/* The lock is held. */
static enum qd_entry_state state_of(const struct qd_entry *entry)
{
    return entry->model                             ? QD_ENTRY_READY
           : entry->is_loading || entry->is_awaited ? QD_ENTRY_LOADING
           : entry->is_gone                         ? QD_ENTRY_GONE
           : entry->load_error[0]                   ? QD_ENTRY_FAILED
                                                    : QD_ENTRY_UNLOADED;
}

static enum qd_status fail_use(const struct qd_entry *entry, struct qd_error *err)
{
    static const char *const why[] = {
        [QD_ENTRY_UNLOADED] = "is not loaded; POST /v2/repository/models/NAME/load loads it",
        [QD_ENTRY_LOADING] = "is being loaded",
        [QD_ENTRY_READY] = "serves",
        [QD_ENTRY_FAILED] = "could not be loaded",
        [QD_ENTRY_GONE] = "is not in the repository any more",
    };
    enum qd_entry_state state = state_of(entry);

    if (state == QD_ENTRY_FAILED)
        return qd_error_set(err, QD_UNAVAILABLE, "%s", entry->load_error);
    return qd_error_set(err, QD_UNAVAILABLE, "model '%.60s' version %d %s", entry->name, entry->version, why[state]);
}

enum qd_status qd_registry_use(struct qd_registry *registry, const char *name, int version, struct qd_entry **ret_entry,
                               struct qd_model **ret_model, struct qd_error *err)
{
    bool (*load)(void *context, struct qd_entry *entry) = NULL;
    struct qd_entry *entry = NULL;
    void *context;
    enum qd_status status;

    pthread_mutex_lock(&models_lock);
    status = find(registry, name, version, &entry, err);
    if (status == QD_OK) {
        *ret_entry = entry;
        entry->is_asked = entry->is_asked || version > 0;
        if (version && !entry->is_off && state_of(entry) == QD_ENTRY_UNLOADED)
            load = registry->load;
        entry->is_awaited = entry->is_awaited || load;
        if (entry->model)
            *ret_model = qd_model_ref(entry->model);
        else
            status = fail_use(entry, err);
    }
    context = registry->load_context;
    pthread_mutex_unlock(&models_lock);
    if (load && !load(context, entry)) {
        pthread_mutex_lock(&models_lock);
        entry->is_awaited = false;
        pthread_mutex_unlock(&models_lock);
    }
    return status;
}

int qd_registry_n_entries(struct qd_registry *registry)
{
    int n;

    pthread_mutex_lock(&models_lock);
    n = registry->n_entries;
    pthread_mutex_unlock(&models_lock);
    return n;
}

struct qd_entry *qd_registry_entry(struct qd_registry *registry, int i)
{
    return registry->entries[i];
}

struct qd_model *qd_entry_model(struct qd_entry *entry)
{
    struct qd_model *model;

    pthread_mutex_lock(&models_lock);
    model = entry->model ? qd_model_ref(entry->model) : NULL;
    pthread_mutex_unlock(&models_lock);
    return model;
}

void qd_entry_status(struct qd_entry *entry, struct qd_entry_status *ret)
{
    struct qd_error why = {""};

    pthread_mutex_lock(&models_lock);
    *ret = (struct qd_entry_status){
        .state = state_of(entry),
        .is_served = entry->of->served == entry,
        .is_highest = entry->of->highest == entry->version && !entry->is_gone,
        .is_off = entry->is_off,
        .is_gone = entry->is_gone,
        .fingerprint = entry->fingerprint,
    };
    if (ret->state != QD_ENTRY_READY)
        fail_use(entry, &why);
    memcpy(ret->reason, ret->state == QD_ENTRY_READY ? entry->load_error : why.text, sizeof(ret->reason));
    pthread_mutex_unlock(&models_lock);
}

bool qd_registry_is_ready(struct qd_registry *registry)
{
    bool is_ready;

    pthread_mutex_lock(&models_lock);
    is_ready = note_ready(registry);
    pthread_mutex_unlock(&models_lock);
    return is_ready;
}

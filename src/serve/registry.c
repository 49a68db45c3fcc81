#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "serve/registry_internal.h"
#include "serve/versions.h"
#include "util/name.h"

pthread_mutex_t qd_models_lock = PTHREAD_MUTEX_INITIALIZER;

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
    status = options->monitor_every ? qd_monitor_new(options->monitor_every, &registry->monitor, err) : QD_OK;
    batcher.monitor = registry->monitor;
    if (status == QD_OK)
        status = qd_pool_new(&batcher, &registry->pool, err);
    if (status != QD_OK) {
        qd_monitor_free(registry->monitor);
        qd_free(registry);
        return status;
    }
    *ret = registry;
    return QD_OK;
}

void qd_registry_drain(struct qd_registry *registry)
{
    qd_monitor_end(registry->monitor);
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
    qd_monitor_free(registry->monitor);
    for (int i = 0; i < registry->n_entries; i++) {
        qd_model_unref(registry->entries[i]->model);
        pthread_mutex_destroy(&registry->entries[i]->load_lock);
        qd_free(registry->entries[i]);
    }
    for (int i = 0; i < registry->n_names; i++) {
        qd_free(registry->names[i]->path);
        qd_free(registry->names[i]);
    }
    qd_free(registry->names);
    qd_free(registry->entries);
    qd_free(registry);
}

const struct qd_serve_options *qd_registry_options(const struct qd_registry *registry)
{
    return &registry->options;
}

void qd_registry_set_loader(struct qd_registry *registry, bool (*load)(void *context, struct qd_entry *entry),
                            void *context)
{
    pthread_mutex_lock(&qd_models_lock);
    registry->load = load;
    registry->load_context = context;
    pthread_mutex_unlock(&qd_models_lock);
}

void qd_registry_choose_served(struct qd_registry *registry, struct qd_name *name)
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

/* What is there for people to see: in the repository, or still serving. */
static bool is_there(const struct qd_entry *entry)
{
    return !entry->is_gone || entry->model || entry->is_loading;
}

/* The lock is held. */
static enum qd_status check_room(const struct qd_registry *registry, struct qd_error *err)
{
    int n = 0;

    for (int i = 0; i < registry->n_entries; i++)
        n += is_there(registry->entries[i]);
    return n < QD_MAX_ENTRIES
               ? QD_OK
               : qd_error_set(err, QD_TOO_LARGE, "expected at most %d versions of models", QD_MAX_ENTRIES);
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
    enum qd_status status = qd_grow((void **)&registry->names, &registry->names_capacity,
                                    (size_t)registry->n_names + 1, sizeof(*registry->names), err);

    if (status != QD_OK)
        return status;
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
    enum qd_status status = qd_grow((void **)&registry->entries, &registry->entries_capacity,
                                    (size_t)registry->n_entries + 1, sizeof(*registry->entries), err);

    if (status != QD_OK)
        return status;
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

/* It lies in the repository: an entry, which may have been there before. The lock is held. */
static enum qd_status set_version(struct qd_registry *registry, struct qd_name *name, int version,
                                  struct qd_error *err)
{
    struct qd_entry *entry = find_version(registry, name, version);
    enum qd_status status = entry && is_there(entry) ? QD_OK : check_room(registry, err);

    if (status == QD_OK && !entry)
        status = add_entry(registry, name, version, err);
    if (status == QD_OK)
        find_version(registry, name, version)->is_gone = false;
    return status;
}

static bool holds(const int *versions, int n, int version)
{
    for (int i = 0; i < n; i++)
        if (versions[i] == version)
            return true;
    return false;
}

enum qd_status qd_registry_set_versions(struct qd_registry *registry, const char *text, const char *path,
                                        const int *versions, int n, struct qd_error *err)
{
    struct qd_name *name;
    enum qd_status status = qd_model_name_check(text, err);

    if (status != QD_OK)
        return status;
    pthread_mutex_lock(&qd_models_lock);
    name = find_name(registry, text);
    if (!name && n)
        status = add_name(registry, text, path, &name, err);
    for (int i = 0; i < registry->n_entries && name; i++)
        if (registry->entries[i]->of == name && !holds(versions, n, registry->entries[i]->version))
            registry->entries[i]->is_gone = true;
    /* Where there is no room for one, the others that are there stay. */
    for (int i = 0; i < n && name; i++) {
        enum qd_status one = set_version(registry, name, versions[i], err);

        status = status == QD_OK ? one : status;
    }
    if (name) {
        name->highest = 0;
        for (int i = 0; i < n; i++)
            name->highest = versions[i] > name->highest ? versions[i] : name->highest;
        for (int i = 0; i < registry->n_entries; i++)
            if (registry->entries[i]->of == name && registry->entries[i]->is_gone)
                registry->entries[i]->is_awaited = false;
        qd_registry_choose_served(registry, name);
    }
    pthread_mutex_unlock(&qd_models_lock);
    return status;
}

static enum qd_status fail_name(struct qd_registry *registry, const char *name, struct qd_error *err)
{
    const char *names[QD_MAX_ENTRIES], *nearest;
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

    pthread_mutex_lock(&qd_models_lock);
    status = find(registry, name, version, ret, err);
    pthread_mutex_unlock(&qd_models_lock);
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

    pthread_mutex_lock(&qd_models_lock);
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
    pthread_mutex_unlock(&qd_models_lock);
    if (load && !load(context, entry)) {
        pthread_mutex_lock(&qd_models_lock);
        entry->is_awaited = false;
        pthread_mutex_unlock(&qd_models_lock);
    }
    return status;
}

int qd_registry_n_entries(struct qd_registry *registry)
{
    int n;

    pthread_mutex_lock(&qd_models_lock);
    n = registry->n_entries;
    pthread_mutex_unlock(&qd_models_lock);
    return n;
}

struct qd_entry *qd_registry_entry(struct qd_registry *registry, int i)
{
    struct qd_entry *entry;

    pthread_mutex_lock(&qd_models_lock);
    entry = registry->entries[i];
    pthread_mutex_unlock(&qd_models_lock);
    return entry;
}

struct qd_model *qd_entry_model(struct qd_entry *entry)
{
    struct qd_model *model;

    pthread_mutex_lock(&qd_models_lock);
    model = entry->model ? qd_model_ref(entry->model) : NULL;
    pthread_mutex_unlock(&qd_models_lock);
    return model;
}

void qd_entry_status(struct qd_entry *entry, struct qd_entry_status *ret)
{
    struct qd_error why = {""};

    pthread_mutex_lock(&qd_models_lock);
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
    pthread_mutex_unlock(&qd_models_lock);
}

bool qd_registry_note_ready(struct qd_registry *registry)
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

bool qd_registry_is_ready(struct qd_registry *registry)
{
    bool is_ready;

    pthread_mutex_lock(&qd_models_lock);
    is_ready = qd_registry_note_ready(registry);
    pthread_mutex_unlock(&qd_models_lock);
    return is_ready;
}

/* Loading and unloading what the registry's entries name. */
#include <pthread.h>
#include <string.h>

#include "quant/given.h"
#include "serve/registry_internal.h"
#include "serve/versions.h"
#include "util/log.h"

static void log_model(const struct qd_model *model)
{
    const struct qd_scales *s = model->result.scales;

    if (!model->config.has_preprocess) {
        char text[QD_PREPROCESS_TEXT_SIZE];

        qd_preprocess_text(&model->config.preprocess, text);
        qd_log(QD_LOG_WARNING, "model '%s': model.json states no preprocess; taken is: %s", model->config.name, text);
    }
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
        pthread_mutex_lock(&qd_models_lock);
        status = check_unloads(entry, n_unloads, err);
        pthread_mutex_unlock(&qd_models_lock);
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
static int retire(struct qd_registry *registry, const struct qd_entry *taking_over, struct qd_entry *ret[QD_MAX_ENTRIES],
                  struct qd_model *ret_models[QD_MAX_ENTRIES])
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
        atomic_store(&entry->model->is_retired, true);
        ret_models[n++] = entry->model;
        entry->model = NULL;
    }
    return n;
}

/* The model takes over, or the error stays with the entry where it is one of the model (is_noted). */
static enum qd_status put_in_place(struct qd_registry *registry, struct qd_entry *entry, struct qd_model *model,
                                   unsigned n_unloads, bool is_noted, enum qd_status status, struct qd_error *err)
{
    struct qd_entry *retired[QD_MAX_ENTRIES];
    struct qd_model *models[QD_MAX_ENTRIES], *old = NULL;
    int n = 0;

    pthread_mutex_lock(&qd_models_lock);
    if (status == QD_OK)
        status = check_unloads(entry, n_unloads, err);
    if (status == QD_OK) {
        old = entry->model;
        if (old)
            atomic_store(&old->is_retired, true);
        entry->model = qd_model_ref(model);
        entry->load_error[0] = 0;
        n = retire(registry, entry, retired, models);
    } else if (status != QD_CANCELLED && is_noted) {
        memcpy(entry->load_error, err->text, sizeof(entry->load_error));
    }
    entry->is_loading = entry->is_awaited = false;
    qd_registry_choose_served(registry, entry->of);
    (void)qd_registry_note_ready(registry);
    pthread_mutex_unlock(&qd_models_lock);
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
    pthread_mutex_lock(&qd_models_lock);
    status = check_unloads(entry, n_unloads, &why);
    entry->is_loading = status == QD_OK;
    entry->fingerprint = status == QD_OK ? fingerprint : entry->fingerprint;
    pthread_mutex_unlock(&qd_models_lock);
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

    pthread_mutex_lock(&qd_models_lock);
    n_unloads = entry->n_unloads;
    pthread_mutex_unlock(&qd_models_lock);
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

    pthread_mutex_lock(&qd_models_lock);
    n_unloads = entry->n_unloads;
    is_off = entry->is_off;
    pthread_mutex_unlock(&qd_models_lock);
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

    pthread_mutex_lock(&qd_models_lock);
    model = entry->model;
    entry->model = NULL;
    if (model)
        atomic_store(&model->is_retired, true);
    entry->is_off = is_off;
    entry->is_asked = entry->is_awaited = false;
    entry->load_error[0] = 0;
    entry->n_unloads++;
    qd_registry_choose_served(registry, entry->of);
    (void)qd_registry_note_ready(registry);
    pthread_mutex_unlock(&qd_models_lock);
    if (!model)
        return;
    qd_model_unref(model);
    qd_batcher_refresh(entry->batcher);
    qd_log(QD_LOG_INFO, "model '%s' version %d is unloaded", entry->name, entry->version);
}

void qd_registry_expect(struct qd_registry *registry, struct qd_entry *entry)
{
    (void)registry;
    pthread_mutex_lock(&qd_models_lock);
    entry->is_off = false;
    entry->is_awaited = !entry->is_loading && !entry->model;
    entry->is_asked = entry->is_asked || entry->version < entry->of->highest;
    pthread_mutex_unlock(&qd_models_lock);
}

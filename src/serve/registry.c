#include "serve/registry.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/given.h"
#include "util/file.h"
#include "util/log.h"
#include "util/name.h"

#define MAX_ENTRIES 256

struct qd_registry {
    struct qd_serve_options options;
    struct qd_pool *pool;
    struct qd_entry *entries[MAX_ENTRIES];
    int n_entries;
};

/* Guards the model pointer and error text of every entry; held for moments only. */
static pthread_mutex_t models_lock = PTHREAD_MUTEX_INITIALIZER;

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
        struct qd_entry *entry = registry->entries[i];

        qd_model_unref(entry->model);
        qd_free(entry->path);
        qd_free(entry);
    }
    qd_free(registry);
}

static enum qd_status add_entry(struct qd_registry *registry, const char *name, const char *path, struct qd_error *err)
{
    struct qd_entry *entry;
    enum qd_status status;

    if (registry->n_entries == MAX_ENTRIES)
        return qd_error_set(err, QD_TOO_LARGE, "expected at most %d models", MAX_ENTRIES);
    entry = qd_alloc(sizeof(*entry));
    if (!entry || !(entry->path = qd_strdup(path))) {
        qd_free(entry);
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a model");
    }
    snprintf(entry->name, sizeof(entry->name), "%s", name);
    status = qd_batcher_new(registry->pool, entry, &entry->batcher, err);
    if (status != QD_OK) {
        qd_free(entry->path);
        qd_free(entry);
        return status;
    }
    registry->entries[registry->n_entries++] = entry;
    return QD_OK;
}

/* model.json, or a numeric sub-folder with model.onnx. */
static bool is_model_folder(const char *path)
{
    char file[4096];
    DIR *dir;
    struct dirent *entry;
    bool found = false;

    snprintf(file, sizeof(file), "%s/model.json", path);
    if (qd_is_file(file))
        return true;
    dir = opendir(path);
    while (dir && !found && (entry = readdir(dir))) {
        snprintf(file, sizeof(file), "%s/%s/model.onnx", path, entry->d_name);
        found = entry->d_name[0] >= '0' && entry->d_name[0] <= '9' && qd_is_file(file);
    }
    if (dir)
        closedir(dir);
    return found;
}

static int not_hidden(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

enum qd_status qd_registry_add_folder(struct qd_registry *registry, const char *folder, struct qd_error *err)
{
    struct dirent **list = NULL;
    enum qd_status status = QD_OK;
    const char *name;
    int n;

    if (is_model_folder(folder)) {
        name = strrchr(folder, '/');
        return add_entry(registry, name && name[1] ? name + 1 : folder, folder, err);
    }
    n = scandir(folder, &list, not_hidden, alphasort);
    if (n < 0)
        return qd_error_set(err, QD_NOT_FOUND, "model repository '%s': %s", folder, strerror(errno));
    for (int i = 0; i < n; i++) {
        char *path = qd_path_join(folder, list[i]->d_name);

        if (status == QD_OK && path && is_model_folder(path))
            status = add_entry(registry, list[i]->d_name, path, err);
        qd_free(path);
        free(list[i]);
    }
    free(list);
    if (status == QD_OK && !registry->n_entries)
        status = qd_error_set(err, QD_NOT_FOUND,
                              "model repository '%s': expected folders with <version>/model.onnx, found none", folder);
    return status;
}

const struct qd_serve_options *qd_registry_options(const struct qd_registry *registry)
{
    return &registry->options;
}

/*
 * The known-answer check of readiness: the first calibration picture through the int8 plan, twice in one batch, must
 * give the same bytes at both places.
 */
static bool check_known_answers(const struct qd_model *model, int n_threads)
{
    struct qd_error err = {""};
    struct qd_frame *frame = NULL;
    size_t size = qd_preprocess_bytes(&model->config.preprocess);
    int64_t count = qd_plan_output_count(model->result.int8, 0);
    bool ok;

    if (qd_frame_new(model->result.int8, n_threads, &frame, &err) != QD_OK)
        return false;
    for (size_t i = 0; i < size; i++)
        qd_frame_input(frame, 0)[i] = qd_frame_input(frame, 1)[i] = (uint8_t)(i * 7);
    qd_frame_run(frame, 2, n_threads);
    ok = memcmp(qd_frame_output(frame, 0, 0), qd_frame_output(frame, 0, 1), (size_t)count * sizeof(float)) == 0;
    qd_frame_free(frame);
    return ok;
}

static void log_model(const struct qd_model *model)
{
    const struct qd_scales *s = model->result.scales;

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

/* A new generation that fails the gate does not replace one that serves. */
static enum qd_status judge(const struct qd_model *fresh, const struct qd_model *old, struct qd_error *err)
{
    if (old && !fresh->result.scales->gate_passed)
        return qd_error_set(err, QD_CONFLICT, "the gate refused the new scales, the old ones stay: %s",
                            fresh->result.scales->gate_text);
    return QD_OK;
}

enum qd_status qd_registry_load(struct qd_registry *registry, struct qd_entry *entry,
                                const struct qd_model_options *options, struct qd_error *err)
{
    struct qd_model *model = NULL, *old;
    enum qd_status status = qd_model_load(entry->path, options ? options : &registry->options.model, &model, err);

    old = qd_entry_model(entry);
    if (status == QD_OK)
        status = judge(model, old, err);
    if (status == QD_OK) {
        model->generation = old ? old->generation + 1 : 1;
        if (!check_known_answers(model, registry->options.model.n_threads))
            status = qd_error_set(err, QD_INVALID, "model '%s': its known answers differ", entry->name);
    }
    pthread_mutex_lock(&models_lock);
    if (status == QD_OK) {
        qd_model_unref(entry->model);
        entry->model = qd_model_ref(model);
        entry->known_answers_ok = true;
        entry->load_error[0] = 0;
    } else if (err) {
        memcpy(entry->load_error, err->text, sizeof(entry->load_error));
    }
    pthread_mutex_unlock(&models_lock);
    qd_batcher_refresh(entry->batcher);
    if (status == QD_OK)
        log_model(model);
    else
        qd_log(QD_LOG_ERROR, "%s", err ? err->text : "load failed");
    qd_model_unref(model);
    qd_model_unref(old);
    return status;
}

enum qd_status qd_registry_find(struct qd_registry *registry, const char *name, struct qd_entry **ret,
                                struct qd_error *err)
{
    const char *names[MAX_ENTRIES], *nearest;

    if (!name && registry->n_entries == 1) {
        *ret = registry->entries[0];
        return QD_OK;
    }
    if (!name)
        return qd_error_set(err, QD_INVALID, "expected ?model=, for there are %d models; GET /models lists them",
                            registry->n_entries);
    for (int i = 0; i < registry->n_entries; i++) {
        names[i] = registry->entries[i]->name;
        if (strcmp(names[i], name) == 0) {
            *ret = registry->entries[i];
            return QD_OK;
        }
    }
    nearest = qd_nearest_name(name, names, (size_t)registry->n_entries);
    return qd_error_set(err, QD_NOT_FOUND, "unknown model '%.60s'%s%s%s; GET /models lists them", name,
                        nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
}

int qd_registry_n_entries(const struct qd_registry *registry)
{
    return registry->n_entries;
}

struct qd_entry *qd_registry_entry(const struct qd_registry *registry, int i)
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

void qd_entry_error(struct qd_entry *entry, char text[QD_ERROR_TEXT_SIZE])
{
    pthread_mutex_lock(&models_lock);
    memcpy(text, entry->load_error, QD_ERROR_TEXT_SIZE);
    pthread_mutex_unlock(&models_lock);
}

bool qd_registry_is_ready(struct qd_registry *registry)
{
    bool loading = false, serving = false;

    pthread_mutex_lock(&models_lock);
    for (int i = 0; i < registry->n_entries; i++) {
        const struct qd_entry *entry = registry->entries[i];

        loading |= !entry->model && !entry->load_error[0];
        serving |= entry->model && entry->known_answers_ok;
    }
    pthread_mutex_unlock(&models_lock);
    return serving && !loading;
}

#include "serve/repository.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve/versions.h"
#include "util/file.h"
#include "util/log.h"

/* The name that a model's folder gives it when it is served alone; "." and ".." are asked what they are. */
static const char *last_part(const char *folder, char name[QD_MODEL_NAME_SIZE])
{
    size_t end = strlen(folder), begin;
    char *real;

    while (end > 1 && folder[end - 1] == '/')
        end--;
    begin = end;
    while (begin && folder[begin - 1] != '/')
        begin--;
    snprintf(name, QD_MODEL_NAME_SIZE, "%.*s", (int)(end - begin), folder + begin);
    if (name[0] == '.' && (real = realpath(folder, NULL))) {
        snprintf(name, QD_MODEL_NAME_SIZE, "%s", strrchr(real, '/') + 1);
        free(real);
    }
    return name;
}

/* The versions of a model's folder: those that it holds, or the one that model.json names. */
static int list_versions(const char *path, int versions[QD_MAX_VERSIONS])
{
    struct qd_model_config config;
    struct qd_error why = {""};
    int n = 0;

    if (!qd_is_model_folder(path))
        return 0;
    if (qd_model_config_load(path, 0, &config, &why) == QD_OK && config.names_onnx)
        versions[n++] = config.version;
    qd_model_config_done(&config);
    if (!n)
        n = qd_versions_list(path, versions);
    if (!n)
        versions[n++] = 1; /* loading it says what is wrong */
    return n;
}

static enum qd_status scan_folder(struct qd_registry *registry, const char *path, const char *name,
                                  struct qd_error *err)
{
    int versions[QD_MAX_VERSIONS];
    int n = list_versions(path, versions);

    return qd_registry_set_versions(registry, name, path, versions, n, err);
}

/* Names that are known and whose folder is no model any more. */
static void mark_vanished(struct qd_registry *registry, const char *folder)
{
    for (int i = 0; i < qd_registry_n_entries(registry); i++) {
        struct qd_entry *entry = qd_registry_entry(registry, i);
        struct qd_entry_status state;
        struct qd_error ignored = {""};
        char *path;

        qd_entry_status(entry, &state);
        if (state.is_gone)
            continue;
        path = qd_path_join(folder, entry->name);
        if (path && !qd_is_model_folder(path))
            (void)qd_registry_set_versions(registry, entry->name, path, NULL, 0, &ignored);
        qd_free(path);
    }
}

static int not_hidden(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

enum qd_status qd_repository_scan(struct qd_registry *registry, struct qd_error *err)
{
    const char *folder = qd_registry_options(registry)->repository;
    struct dirent **list = NULL;
    char name[QD_MODEL_NAME_SIZE];
    int n, n_models = 0;

    if (qd_is_model_folder(folder))
        return scan_folder(registry, folder, last_part(folder, name), err);
    n = scandir(folder, &list, not_hidden, alphasort);
    if (n < 0)
        return qd_error_set(err, QD_NOT_FOUND, "model repository '%s': %s", folder, strerror(errno));
    for (int i = 0; i < n; i++) {
        char *path = qd_path_join(folder, list[i]->d_name);
        struct qd_error why = {""};

        if (path && qd_is_model_folder(path)) {
            if (scan_folder(registry, path, list[i]->d_name, &why) == QD_OK)
                n_models++;
            else
                qd_log(QD_LOG_WARNING, "model repository '%s': %s", folder, why.text);
        }
        qd_free(path);
        free(list[i]);
    }
    free(list);
    mark_vanished(registry, folder);
    if (!n_models)
        return qd_error_set(err, QD_NOT_FOUND,
                            "model repository '%s': expected folders with <version>/model.onnx, found none", folder);
    return QD_OK;
}

enum qd_status qd_repository_scan_model(struct qd_registry *registry, const char *name, struct qd_error *err)
{
    const char *folder = qd_registry_options(registry)->repository;
    char own[QD_MODEL_NAME_SIZE], *path;
    struct qd_entry *entry;
    bool is_single = qd_is_model_folder(folder);
    enum qd_status status = qd_model_name_check(name, err);

    if (status != QD_OK)
        return status;
    if (!is_single || strcmp(name, last_part(folder, own)) == 0) {
        path = is_single ? qd_strdup(folder) : qd_path_join(folder, name);
        status =
            path ? scan_folder(registry, path, name, err) : qd_error_set(err, QD_NO_MEMORY, "no memory for a path");
        qd_free(path);
    }
    return status == QD_OK ? qd_registry_find(registry, name, 0, &entry, err) : status;
}

void qd_repository_expect(struct qd_registry *registry)
{
    for (int i = 0; i < qd_registry_n_entries(registry); i++) {
        struct qd_entry *entry = qd_registry_entry(registry, i);
        struct qd_entry_status status;

        qd_entry_status(entry, &status);
        if (status.is_highest)
            qd_registry_expect(registry, entry);
    }
}

static bool is_same(const struct qd_hash *a, const struct qd_hash *b)
{
    return memcmp(a->bytes, b->bytes, QD_HASH_SIZE) == 0;
}

/* Whether a refresh reads it: the highest version, and what serves besides. */
static bool is_wanted(struct qd_entry *entry, const struct qd_entry_status *status, enum qd_reload reload)
{
    struct qd_hash now;

    if (status->is_off || status->state == QD_ENTRY_GONE || (!status->is_highest && status->state != QD_ENTRY_READY))
        return false;
    /* Not loaded yet, or the highest again since a higher one vanished; one that failed waits for other files. */
    if (reload == QD_RELOAD_ALL || (status->state != QD_ENTRY_READY && status->state != QD_ENTRY_FAILED))
        return true;
    now = qd_version_fingerprint(entry->path, entry->version);
    return !is_same(&now, &status->fingerprint);
}

static bool must_stop(const struct qd_model_options *options)
{
    struct qd_error ignored = {""};

    return qd_progress_step(options->progress, "loading", 0, 0, &ignored) != QD_OK;
}

/* Whether a version that vanished may go: the whole model did, or another version serves in its place. */
static bool may_go(struct qd_registry *registry, struct qd_entry *entry)
{
    struct qd_entry_status status;
    struct qd_entry *highest;
    struct qd_error ignored = {""};

    if (qd_registry_find(registry, entry->name, QD_VERSION_HIGHEST, &highest, &ignored) != QD_OK)
        return true;
    qd_entry_status(highest, &status);
    return highest == entry || status.is_gone || status.state == QD_ENTRY_READY;
}

/* Those that serve on although their files are gone; of one name, or of all (NULL). Returns how many models serve. */
static int unload_vanished(struct qd_registry *registry, const char *name)
{
    int n_serving = 0;

    for (int i = 0; i < qd_registry_n_entries(registry); i++) {
        struct qd_entry *entry = qd_registry_entry(registry, i);
        struct qd_entry_status status;

        qd_entry_status(entry, &status);
        if (status.is_gone && status.state == QD_ENTRY_READY && (!name || strcmp(name, entry->name) == 0) &&
            may_go(registry, entry))
            qd_registry_unload(registry, entry, false);
        else
            n_serving += status.is_served && status.state == QD_ENTRY_READY;
    }
    return n_serving;
}

/* Loads those that are wanted, those that somebody else is loading last. */
static void load_wanted(struct qd_registry *registry, enum qd_reload reload, const struct qd_model_options *options,
                        bool waits, bool *is_done, int n, struct qd_refresh_result *ret)
{
    for (int i = 0; i < n && !must_stop(options); i++) {
        struct qd_entry *entry = qd_registry_entry(registry, i);
        struct qd_entry_status state;
        struct qd_error why = {""};
        enum qd_status status;

        if (is_done[i])
            continue;
        qd_entry_status(entry, &state);
        is_done[i] = state.is_gone || !is_wanted(entry, &state, reload);
        if (is_done[i])
            continue;
        is_done[i] = qd_registry_refresh(registry, entry, options, waits, &status, &why);
        ret->n_wanted += is_done[i];
        ret->n_loaded += is_done[i] && status == QD_OK;
    }
}

enum qd_status qd_repository_refresh(struct qd_registry *registry, enum qd_reload reload,
                                     const struct qd_model_options *options, struct qd_refresh_result *ret,
                                     struct qd_error *err)
{
    enum qd_status scanned = qd_repository_scan(registry, err);
    int n = qd_registry_n_entries(registry);
    bool *is_done = qd_alloc((size_t)n + 1);

    memset(ret, 0, sizeof(*ret));
    if (!is_done)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a refresh");
    load_wanted(registry, reload, options, false, is_done, n, ret);
    load_wanted(registry, reload, options, true, is_done, n, ret);
    qd_free(is_done);
    if (scanned == QD_OK && !must_stop(options))
        ret->n_serving = unload_vanished(registry, NULL);
    return scanned;
}

enum qd_status qd_repository_load(struct qd_registry *registry, const char *name, int version,
                                  const struct qd_model_options *options, struct qd_error *err)
{
    struct qd_entry *entry = NULL;
    enum qd_status status = qd_repository_scan_model(registry, name, err);

    if (status == QD_OK)
        status = qd_registry_find(registry, name, version ? version : QD_VERSION_HIGHEST, &entry, err);
    if (status != QD_OK)
        return status;
    qd_registry_expect(registry, entry);
    status = qd_registry_load(registry, entry, options, err);
    if (status == QD_OK)
        unload_vanished(registry, name);
    return status;
}

enum qd_status qd_repository_unload(struct qd_registry *registry, const char *name, int version, struct qd_error *err)
{
    struct qd_entry *entry;
    enum qd_status status = qd_registry_find(registry, name, version, &entry, err);

    if (status != QD_OK)
        return status;
    for (int i = 0; i < qd_registry_n_entries(registry); i++) {
        struct qd_entry *other = qd_registry_entry(registry, i);

        if (version ? other == entry : strcmp(other->name, name) == 0)
            qd_registry_unload(registry, other, true);
    }
    return QD_OK;
}

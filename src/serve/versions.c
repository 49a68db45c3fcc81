#include "serve/versions.h"

#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "image/image.h"
#include "serve/model_config.h"
#include "util/file.h"

#define MAX_DIGITS 9

int qd_version_of(const char *name)
{
    size_t n = strspn(name, "0123456789");

    return name[0] == '0' || n > MAX_DIGITS || name[n] ? 0 : atoi(name);
}

int qd_versions_list(const char *folder, int ret_versions[QD_MAX_VERSIONS])
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    int n = 0;

    while (dir && (entry = readdir(dir))) {
        int version = qd_version_of(entry->d_name), at = n;
        char path[4096];

        if (!version || snprintf(path, sizeof(path), "%s/%d/model.onnx", folder, version) >= (int)sizeof(path) ||
            !qd_is_file(path))
            continue;
        while (at > 0 && ret_versions[at - 1] < version)
            at--;
        if (at == QD_MAX_VERSIONS)
            continue;
        n += n < QD_MAX_VERSIONS; /* else the lowest falls off the end */
        memmove(ret_versions + at + 1, ret_versions + at, (size_t)(n - 1 - at) * sizeof(*ret_versions));
        ret_versions[at] = version;
    }
    if (dir)
        closedir(dir);
    return n;
}

enum qd_status qd_model_name_check(const char *name, struct qd_error *err)
{
    json_t *text = json_string(name); /* NULL where it is not UTF-8 */
    const char *what = !text                                ? "it is not UTF-8"
                       : !name[0]                           ? "it is empty"
                       : name[0] == '.'                     ? "it begins with a dot"
                       : strchr(name, '/')                  ? "it holds a slash"
                       : strlen(name) >= QD_MODEL_NAME_SIZE ? "it is too long"
                                                            : NULL;

    json_decref(text);
    for (const char *c = name; *c && !what; c++)
        if ((unsigned char)*c < ' ' || *c == 127)
            what = "it holds a control character";
    if (what)
        return qd_error_set(err, QD_INVALID, "model '%.60s': expected the name of a folder of the repository, but %s",
                            text ? name : "?", what);
    return QD_OK;
}

bool qd_is_model_folder(const char *path)
{
    int versions[QD_MAX_VERSIONS];
    char file[4096];

    return (snprintf(file, sizeof(file), "%s/model.json", path) < (int)sizeof(file) && qd_is_file(file)) ||
           qd_versions_list(path, versions) > 0;
}

static int not_hidden(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void add_files(const char *folder, struct qd_hasher *hasher)
{
    struct dirent **list = NULL;
    int n = scandir(folder, &list, not_hidden, alphasort);

    for (int i = 0; i < n; i++) {
        char path[4096];
        struct stat info;

        if (snprintf(path, sizeof(path), "%s/%s", folder, list[i]->d_name) < (int)sizeof(path) &&
            stat(path, &info) == 0 && S_ISREG(info.st_mode)) {
            long long facts[] = {(long long)info.st_size, (long long)info.st_mtim.tv_sec,
                                 (long long)info.st_mtim.tv_nsec, (long long)info.st_ino, (long long)info.st_dev};

            qd_hasher_add(hasher, list[i]->d_name, strlen(list[i]->d_name) + 1);
            qd_hasher_add(hasher, facts, sizeof(facts));
        }
        free(list[i]);
    }
    free(list);
}

/* Whether the folder has pictures, not which: a model that failed on the empty one is loaded when they come. */
static void add_pictures(const char *folder, struct qd_hasher *hasher)
{
    bool has_some = folder && qd_holds_pictures(folder);

    qd_hasher_add(hasher, &has_some, sizeof(has_some));
}

/*
 * What model.json names beside the folder: the network's own folder, the labels wherever they came from, and which
 * folders have pictures.
 */
static void add_named(const char *folder, int version, struct qd_hasher *hasher)
{
    struct qd_model_config config;
    struct qd_error unused = {""};

    if (qd_model_config_load(folder, version, &config, &unused) == QD_OK) {
        const char *slash = strrchr(config.onnx_path, '/');
        char path[4096];

        if (slash && snprintf(path, sizeof(path), "%.*s", (int)(slash - config.onnx_path), config.onnx_path) <
                         (int)sizeof(path))
            add_files(path, hasher);
        for (size_t i = 0; i < config.n_labels; i++)
            if (config.labels[i])
                qd_hasher_add(hasher, config.labels[i], strlen(config.labels[i]) + 1);
        add_pictures(config.calibration_folder, hasher);
        add_pictures(config.evaluation_folder, hasher);
    }
    qd_model_config_done(&config);
}

struct qd_hash qd_version_fingerprint(const char *folder, int version)
{
    struct qd_hasher hasher;
    char path[4096];

    qd_hasher_init(&hasher);
    add_files(folder, &hasher);
    if (snprintf(path, sizeof(path), "%s/%d", folder, version) < (int)sizeof(path))
        add_files(path, &hasher);
    add_named(folder, version, &hasher);
    return qd_hasher_finish(&hasher);
}

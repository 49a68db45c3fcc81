#include "quant/cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "quant/given.h"
#include "util/file.h"

#define FORMAT "quantd-scales-4"
#define OLD_SECONDS 3600
#define MAX_CACHE_BYTES ((size_t)256 << 20)

void qd_cache_key_hex(const struct qd_cache_key *key, char ret_hex[QD_HASH_HEX_SIZE])
{
    struct qd_hasher hasher;
    struct qd_hash hash;
    char text[256];
    int n;

    qd_hasher_init(&hasher);
    qd_hasher_add(&hasher, FORMAT, strlen(FORMAT));
    qd_hasher_add(&hasher, key->model.bytes, QD_HASH_SIZE);
    qd_preprocess_hash(key->preprocess, &hasher);
    for (size_t i = 0; i < key->n_files; i++)
        qd_hasher_add(&hasher, key->files[i]->hash.bytes, QD_HASH_SIZE);
    n = snprintf(text, sizeof(text),
                 "\nmethod %s %d\nbits %d %d %d\nlayerwise %d\nzero %d\npower %d\nskipped %x\ngate %.17g %.17g\n",
                 key->method ? key->method->name : QD_METHOD_GIVEN, key->method ? key->method->version : 1,
                 key->form->activation_bits, key->form->weight_bits, key->form->multiplier_bits, key->form->layerwise,
                 key->form->plain_zero, key->form->power_of_two, key->skipped_stages, key->min_agreement,
                 key->min_sqnr_db);
    qd_hasher_add(&hasher, text, (size_t)n);
    qd_hasher_add(&hasher, key->settings, strlen(key->settings));
    hash = qd_hasher_finish(&hasher);
    qd_hash_hex(&hash, ret_hex);
}

static char *entry_path(const char *folder, const char *key_hex)
{
    char name[QD_HASH_HEX_SIZE + 32];

    snprintf(name, sizeof(name), "%s.json", key_hex);
    return qd_path_join(folder, name);
}

/* The checksum of the scales as they are dumped: one spelling for equal contents. */
static enum qd_status checksum(const json_t *scales, char ret_hex[QD_HASH_HEX_SIZE], struct qd_error *err)
{
    char *text = json_dumps(scales, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    struct qd_hash hash;

    if (!text)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for the scale cache");
    hash = qd_hash_of(text, strlen(text));
    free(text);
    qd_hash_hex(&hash, ret_hex);
    return QD_OK;
}

enum qd_status qd_cache_checksum(const struct qd_scales *scales, char ret_hex[QD_HASH_HEX_SIZE], struct qd_error *err)
{
    json_t *json = qd_scales_to_json(scales, true);
    enum qd_status status =
        json ? checksum(json, ret_hex, err) : qd_error_set(err, QD_NO_MEMORY, "no memory for the scale cache");

    json_decref(json);
    return status;
}

static enum qd_status check_entry(const json_t *root, const char *key_hex, struct qd_error *err)
{
    const char *format = json_string_value(json_object_get(root, "format"));
    const char *key = json_string_value(json_object_get(root, "key"));
    const char *sum = json_string_value(json_object_get(root, "checksum"));
    char hex[QD_HASH_HEX_SIZE];
    enum qd_status status;

    if (!format || strcmp(format, FORMAT) != 0)
        return qd_error_set(err, QD_INVALID, "expected format '%s', found '%.40s'", FORMAT, format ? format : "none");
    if (!key || strcmp(key, key_hex) != 0)
        return qd_error_set(err, QD_INVALID, "it belongs to another key, %.80s", key ? key : "none");
    status = checksum(json_object_get(root, "scales"), hex, err);
    if (status == QD_OK && (!sum || strcmp(sum, hex) != 0))
        return qd_error_set(err, QD_INVALID, "its checksum does not match its contents");
    return status;
}

enum qd_status qd_cache_load(const char *folder, const char *key_hex, struct qd_scales **ret, struct qd_error *err)
{
    char *path = entry_path(folder, key_hex);
    struct qd_buf buf = {0};
    json_t *root = NULL;
    json_error_t where;
    enum qd_status status;

    if (!path)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a path");
    status = qd_file_read(path, MAX_CACHE_BYTES, &buf, err);
    if (status == QD_OK) {
        root = json_loadb((const char *)buf.bytes, buf.size, 0, &where);
        if (!root)
            status = qd_error_set(err, QD_INVALID, "not JSON: %.120s", where.text);
        if (status == QD_OK)
            status = check_entry(root, key_hex, err);
        if (status == QD_OK)
            status = qd_scales_from_json(json_object_get(root, "scales"), ret, err);
        if (status != QD_OK)
            qd_error_context(err, status, "scale cache '%s'", path);
    }
    json_decref(root);
    qd_buf_done(&buf);
    qd_free(path);
    return status;
}

enum qd_status qd_cache_save(const char *folder, const char *key_hex, const struct qd_scales *scales,
                             struct qd_error *err)
{
    char *path = entry_path(folder, key_hex), *text = NULL, hex[QD_HASH_HEX_SIZE];
    json_t *json = qd_scales_to_json(scales, true), *root = NULL;
    enum qd_status status = path && json ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for the scale cache");

    if (status == QD_OK)
        status = qd_folder_make(folder, err);
    if (status == QD_OK)
        status = checksum(json, hex, err);
    if (status == QD_OK) {
        root = json_pack("{s:s, s:s, s:s, s:O}", "format", FORMAT, "key", key_hex, "checksum", hex, "scales", json);
        text = root ? json_dumps(root, JSON_INDENT(1) | JSON_SORT_KEYS | JSON_REAL_PRECISION(17)) : NULL;
        if (!text)
            status = qd_error_set(err, QD_NO_MEMORY, "no memory for the scale cache");
    }
    if (status == QD_OK)
        status = qd_file_write_atomic(path, text, strlen(text), err);
    free(text);
    json_decref(root);
    json_decref(json);
    qd_free(path);
    return status;
}

/* By age, because a replica in another container may share the folder: whether its process lives cannot be seen. */
void qd_cache_tidy(const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        const char *ending = strstr(entry->d_name, ".json.");
        size_t length = strlen(entry->d_name);
        struct stat info;

        if (!ending || length < 4 || strcmp(entry->d_name + length - 4, ".tmp") != 0)
            continue;
        if (fstatat(dirfd(dir), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode) &&
            time(NULL) - info.st_mtime > OLD_SECONDS)
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    }
    if (dir)
        closedir(dir);
}

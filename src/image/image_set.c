#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "image/image.h"
#include "util/file.h"
#include "util/mem.h"

/* Far above any picture and any list of labels; a larger file in the folder is a mistake that deserves its text. */
#define MAX_PICTURE_BYTES (256u << 20)
#define MAX_LABELS_BYTES (256u << 20)

/* A picture of the folder, before it is known whether it belongs to the set. */
struct entry {
    char *name;
    int label;   /* -1 until a line of the labels names it */
    size_t line; /* that line, or 0 */
};

struct listing {
    struct entry *entries;
    size_t n_entries;
    size_t capacity;
};

static bool is_picture_name(const char *name)
{
    static const char *const extensions[] = {".jpg", ".jpeg", ".png"};
    const char *dot = strrchr(name, '.');

    if (name[0] == '.' || !dot)
        return false;
    for (size_t i = 0; i < QD_ARRAY_SIZE(extensions); i++)
        if (!strcasecmp(dot, extensions[i]))
            return true;
    return false;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static void listing_done(struct listing *listing)
{
    for (size_t i = 0; i < listing->n_entries; i++)
        qd_free(listing->entries[i].name);
    qd_free(listing->entries);
}

static enum qd_status listing_add(struct listing *listing, const char *name, struct qd_error *err)
{
    void *entries = listing->entries;
    char *copy;
    enum qd_status status;

    status = qd_grow(&entries, &listing->capacity, listing->n_entries + 1, sizeof(struct entry), err);
    if (status != QD_OK)
        return status;
    listing->entries = entries;

    copy = qd_strdup(name);
    if (!copy)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for the name of a picture");
    listing->entries[listing->n_entries++] = (struct entry){.name = copy, .label = -1};
    return QD_OK;
}

/* The pictures of a folder by name, in the order of their names. */
static enum qd_status list_folder(const char *folder, struct listing *listing, struct qd_error *err)
{
    DIR *stream = opendir(folder);
    struct dirent *found;
    enum qd_status status = QD_OK;

    if (!stream)
        return qd_error_set(err, errno == ENOENT || errno == ENOTDIR ? QD_NOT_FOUND : QD_IO,
                            "cannot open the image folder '%s': %s", folder, strerror(errno));
    errno = 0;
    while (status == QD_OK && (found = readdir(stream))) {
        if (is_picture_name(found->d_name))
            status = listing_add(listing, found->d_name, err);
        errno = 0;
    }
    if (status == QD_OK && errno)
        status = qd_error_set(err, QD_IO, "cannot list the image folder '%s': %s", folder, strerror(errno));
    closedir(stream);
    if (listing->n_entries)
        qsort(listing->entries, listing->n_entries, sizeof(struct entry), compare_names);
    return status;
}

bool qd_holds_pictures(const char *folder)
{
    DIR *stream = opendir(folder);
    const struct dirent *found;
    bool holds = false;

    if (!stream)
        return false;
    while (!holds && (found = readdir(stream)))
        holds = is_picture_name(found->d_name);
    closedir(stream);
    return holds;
}

/* One line "name TAB class index", more columns after a further TAB are for people. The line is cut into strings. */
static enum qd_status read_label(struct listing *listing, char *line, size_t n_line, struct qd_error *err)
{
    char *tab = strchr(line, '\t');
    struct entry wanted = {.name = line}, *entry = NULL;
    char *end;
    long label;

    if (!tab || tab == line)
        return qd_error_set(err, QD_INVALID, "line %zu: expected 'name TAB class index', found '%.80s'", n_line, line);
    *tab++ = 0;
    errno = 0;
    label = strtol(tab, &end, 10);
    if (*tab < '0' || *tab > '9' || errno || label > 1000000 || (*end && *end != '\t'))
        return qd_error_set(err, QD_INVALID,
                            "line %zu: expected a class index from 0 to 1000000 after the TAB, found '%.40s'", n_line,
                            tab);
    if (listing->n_entries)
        entry = bsearch(&wanted, listing->entries, listing->n_entries, sizeof(struct entry), compare_names);
    if (!entry)
        return qd_error_set(err, QD_INVALID, "line %zu: '%.120s' is no picture of the folder", n_line, line);
    if (entry->line)
        return qd_error_set(err, QD_INVALID, "line %zu: '%.120s' has a label already, from line %zu", n_line, line,
                            entry->line);
    entry->label = (int)label;
    entry->line = n_line;
    return QD_OK;
}

static enum qd_status read_labels(struct listing *listing, const char *path, struct qd_error *err)
{
    struct qd_buf buf;
    char *line, *next;
    size_t n_line = 0;
    enum qd_status status = qd_file_read(path, MAX_LABELS_BYTES, &buf, err);

    if (status != QD_OK)
        return status;
    if (memchr(buf.bytes, 0, buf.size)) {
        qd_buf_done(&buf);
        return qd_error_set(err, QD_INVALID, "labels '%s': expected lines of text, found a zero byte", path);
    }
    for (line = (char *)buf.bytes; status == QD_OK && *line; line = next) {
        size_t length = strcspn(line, "\n");

        next = line + length + (line[length] == '\n');
        line[length] = 0;
        if (length && line[length - 1] == '\r')
            line[length - 1] = 0;
        n_line++;
        if (*line)
            status = read_label(listing, line, n_line, err);
    }
    qd_buf_done(&buf);
    return status == QD_OK ? QD_OK : qd_error_context(err, status, "labels '%s'", path);
}

/* Same content: by name, so that which one stays does not hang on the file system's order. */
static int compare_files(const void *a, const void *b)
{
    const struct qd_image_file *x = a, *y = b;
    int order = memcmp(x->hash.bytes, y->hash.bytes, QD_HASH_SIZE);

    return order ? order : strcmp(x->path, y->path);
}

static enum qd_status hash_file(const char *path, struct qd_hash *ret, struct qd_error *err)
{
    struct qd_buf buf;
    enum qd_status status = qd_file_read(path, MAX_PICTURE_BYTES, &buf, err);

    if (status != QD_OK)
        return status;
    *ret = qd_hash_of(buf.bytes, buf.size);
    qd_buf_done(&buf);
    return QD_OK;
}

/* Reads and hashes each picture; with labels only those that have one. */
static enum qd_status hash_listing(const struct listing *listing, const char *folder, bool labelled_only,
                                   struct qd_image_set *set, struct qd_error *err)
{
    enum qd_status status;

    status =
        qd_alloc_for((void **)&set->files, listing->n_entries, sizeof(struct qd_image_file), "a list of pictures", err);
    if (status != QD_OK)
        return status;
    for (size_t i = 0; i < listing->n_entries; i++) {
        const struct entry *entry = &listing->entries[i];
        struct qd_image_file file = {.label = entry->label};

        if (labelled_only && !entry->line)
            continue;
        file.path = qd_path_join(folder, entry->name);
        if (!file.path)
            return qd_error_set(err, QD_NO_MEMORY, "no memory for the path of a picture");
        if (!entry->line && !qd_is_file(file.path)) {
            qd_free(file.path); /* a folder or a broken link that is named like a picture */
            continue;
        }
        status = hash_file(file.path, &file.hash, err);
        if (status != QD_OK) {
            qd_free(file.path);
            return status;
        }
        set->files[set->n_files++] = file;
    }
    return QD_OK;
}

/* Sorts, drops what has the content of the one before, and keeps the first limit. */
static void order_set(struct qd_image_set *set, size_t limit)
{
    size_t n_kept = 0;

    qsort(set->files, set->n_files, sizeof(struct qd_image_file), compare_files);
    for (size_t i = 0; i < set->n_files; i++) {
        struct qd_image_file *file = &set->files[i];
        bool is_duplicate = n_kept && !memcmp(set->files[n_kept - 1].hash.bytes, file->hash.bytes, QD_HASH_SIZE);

        set->n_duplicates += is_duplicate;
        if (is_duplicate || (limit && n_kept == limit))
            qd_free(file->path);
        else
            set->files[n_kept++] = *file;
    }
    set->n_files = n_kept;
}

enum qd_status qd_image_set_load(const char *folder, const char *labels_path, size_t limit, struct qd_image_set *ret,
                                 struct qd_error *err)
{
    struct listing listing = {0};
    struct qd_image_set set = {0};
    enum qd_status status = list_folder(folder, &listing, err);

    if (status == QD_OK && labels_path)
        status = read_labels(&listing, labels_path, err);
    if (status == QD_OK)
        status = hash_listing(&listing, folder, labels_path != NULL, &set, err);
    if (status == QD_OK && !set.n_files)
        status = qd_error_set(err, QD_INVALID, "expected *.jpg, *.jpeg or *.png in the image folder '%s'%s, found none",
                              folder, labels_path ? " with a label" : "");
    listing_done(&listing);
    if (status != QD_OK) {
        qd_image_set_done(&set);
        return status;
    }
    order_set(&set, limit);
    *ret = set;
    return QD_OK;
}

void qd_image_set_done(struct qd_image_set *set)
{
    for (size_t i = 0; i < set->n_files; i++)
        qd_free(set->files[i].path);
    qd_free(set->files);
    *set = (struct qd_image_set){0};
}

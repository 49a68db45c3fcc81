#include "quant/generations.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "quant/cache.h"
#include "util/file.h"
#include "util/mem.h"

#define FORMAT "quantd-generations-1"
#define MAX_FILE_BYTES ((size_t)1 << 16)

void qd_generation_key(const char *base_hex, int number, char ret_key[QD_GENERATION_KEY_SIZE])
{
    snprintf(ret_key, QD_GENERATION_KEY_SIZE, "%s.g%d", base_hex, number);
}

int qd_generations_find(const struct qd_generations *generations, int number)
{
    for (int i = 0; i < generations->n; i++)
        if (generations->list[i].number == number)
            return i;
    return -1;
}

static char *file_path(const char *folder, const char *key, const char *ending)
{
    char name[QD_GENERATION_KEY_SIZE + 32];

    snprintf(name, sizeof(name), "%s%s", key, ending);
    return qd_path_join(folder, name);
}

/* A whole number of 1 .. INT_MAX, else 0. */
static int read_number(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));

    return value >= 1 && value <= INT_MAX ? (int)value : 0;
}

static enum qd_status read_generations(const json_t *root, struct qd_generations *ret, struct qd_error *err)
{
    const char *format = json_string_value(json_object_get(root, "format"));
    const json_t *list = json_object_get(root, "generations");
    struct qd_generations g = {.current = read_number(root, "current"), .last = read_number(root, "last")};

    if (!format || strcmp(format, FORMAT) != 0)
        return qd_error_set(err, QD_INVALID, "expected format '%s', found '%.40s'", FORMAT, format ? format : "none");
    if (!json_array_size(list) || json_array_size(list) > QD_MAX_GENERATIONS)
        return qd_error_set(err, QD_INVALID, "generations: expected 1 to %d, found %zu", QD_MAX_GENERATIONS,
                            json_array_size(list));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        const char *method = json_string_value(json_object_get(item, "method"));
        struct qd_generation *one = &g.list[g.n];

        one->number = read_number(item, "generation");
        one->made_unix_us = (int64_t)json_integer_value(json_object_get(item, "made_unix_us"));
        if (!one->number || one->number > g.last || qd_generations_find(&g, one->number) >= 0 || !method)
            return qd_error_set(err, QD_INVALID, "generations[%zu]: expected a new generation of 1 to %d, and a method",
                                i, g.last);
        snprintf(one->method, sizeof(one->method), "%s", method);
        g.n++;
    }
    if (qd_generations_find(&g, g.current) < 0)
        return qd_error_set(err, QD_INVALID, "current: expected one of the generations, found %d", g.current);
    *ret = g;
    return QD_OK;
}

enum qd_status qd_generations_load(const char *folder, const char *base_hex, struct qd_generations *ret,
                                   struct qd_error *err)
{
    char *path = file_path(folder, base_hex, ".generations.json");
    struct qd_buf buf = {0};
    json_error_t where;
    json_t *root = NULL;
    enum qd_status status;

    if (!path)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a path");
    status = qd_file_read(path, MAX_FILE_BYTES, &buf, err);
    if (status == QD_OK) {
        root = json_loadb((const char *)buf.bytes, buf.size, 0, &where);
        status =
            root ? read_generations(root, ret, err) : qd_error_set(err, QD_INVALID, "not JSON: %.120s", where.text);
        if (status != QD_OK)
            qd_error_context(err, status, "generations of scales '%s'", path);
    }
    json_decref(root);
    qd_buf_done(&buf);
    qd_free(path);
    return status;
}

static enum qd_status save(const char *folder, const char *base_hex, const struct qd_generations *g,
                           struct qd_error *err)
{
    char *path = file_path(folder, base_hex, ".generations.json"), *text = NULL;
    json_t *list = json_array(), *root;
    enum qd_status status = QD_OK;

    for (int i = 0; i < g->n; i++)
        json_array_append_new(list, json_pack("{s:i, s:s, s:I}", "generation", g->list[i].number, "method",
                                              g->list[i].method, "made_unix_us", (json_int_t)g->list[i].made_unix_us));
    root = json_pack("{s:s, s:i, s:i, s:o}", "format", FORMAT, "current", g->current, "last", g->last, "generations",
                     list);
    text = root ? json_dumps(root, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;
    if (!path || !text)
        status = qd_error_set(err, QD_NO_MEMORY, "no memory for generations of scales");
    if (status == QD_OK)
        status = qd_folder_make(folder, err);
    if (status == QD_OK)
        status = qd_file_write_atomic(path, text, strlen(text), err);
    free(text);
    json_decref(root);
    qd_free(path);
    return status;
}

static void remove_scales(const char *folder, const char *base_hex, int number)
{
    char key[QD_GENERATION_KEY_SIZE], *path;

    qd_generation_key(base_hex, number, key);
    path = file_path(folder, key, ".json");
    if (path)
        (void)unlink(path);
    qd_free(path);
}

/* What stays of the list before one is added: up to the current one, the oldest gone where it is full. */
static void make_room(struct qd_generations *g)
{
    int at = qd_generations_find(g, g->current);

    if (at >= 0)
        g->n = at + 1;
    if (g->n == QD_MAX_GENERATIONS)
        memmove(g->list, g->list + 1, (size_t)--g->n * sizeof(g->list[0]));
}

enum qd_status qd_generations_add(const char *folder, const char *base_hex, const struct qd_generation *generation,
                                  const struct qd_scales *scales, struct qd_generations *generations,
                                  struct qd_error *err)
{
    struct qd_generations next = *generations;
    char key[QD_GENERATION_KEY_SIZE];
    enum qd_status status;

    make_room(&next);
    next.list[next.n++] = *generation;
    next.current = generation->number;
    next.last = generation->number > next.last ? generation->number : next.last;
    qd_generation_key(base_hex, generation->number, key);
    status = qd_cache_save(folder, key, scales, err);
    if (status == QD_OK)
        status = save(folder, base_hex, &next, err);
    if (status != QD_OK)
        return status;
    for (int i = 0; i < generations->n; i++)
        if (qd_generations_find(&next, generations->list[i].number) < 0)
            remove_scales(folder, base_hex, generations->list[i].number);
    *generations = next;
    return QD_OK;
}

enum qd_status qd_generations_choose(const char *folder, const char *base_hex, int number,
                                     struct qd_generations *generations, struct qd_error *err)
{
    struct qd_generations next = *generations;
    enum qd_status status;

    next.current = number;
    status = save(folder, base_hex, &next, err);
    if (status == QD_OK)
        *generations = next;
    return status;
}

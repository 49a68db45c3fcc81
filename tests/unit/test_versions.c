#include <stdio.h>
#include <string.h>

#include "serve/versions.h"
#include "tests/unit/scratch.h"
#include "util/file.h"
#include "util/mem.h"

static char folder[QD_SCRATCH_SIZE];

static void put(const char *name, const char *text)
{
    char path[QD_SCRATCH_SIZE + 128], *slash;
    struct qd_error err = {""};

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    slash = strrchr(path, '/');
    *slash = 0;
    ck_assert_ok(qd_folder_make(path, &err), &err);
    *slash = '/';
    ck_assert_ok(qd_file_write_atomic(path, text, strlen(text), &err), &err);
}

START_TEST(test_numbers_of_folders)
{
    static const struct {
        const char *name;
        int version;
    } rows[] = {{"1", 1},          {"20", 20}, {"999999999", 999999999},
                {"1000000000", 0}, {"0", 0},   {"01", 0},
                {"1a", 0},         {"", 0},    {"-1", 0},
                {"+1", 0},         {" 1", 0},  {"1.5", 0},
                {"1/..", 0}};

    for (size_t i = 0; i < QD_ARRAY_SIZE(rows); i++)
        ck_assert_msg(qd_version_of(rows[i].name) == rows[i].version, "'%s'", rows[i].name);
}
END_TEST

START_TEST(test_list_highest_first)
{
    int versions[QD_MAX_VERSIONS];
    char name[32];

    make_scratch(folder);
    ck_assert_int_eq(qd_versions_list(folder, versions), 0);
    ck_assert(!qd_is_model_folder(folder));
    put("2/model.onnx", "x");
    put("10/model.onnx", "x");
    put("1/model.onnx", "x");
    put("3/weights.bin", "no model");
    put("calibration/model.onnx", "no version");
    ck_assert_int_eq(qd_versions_list(folder, versions), 3);
    ck_assert_int_eq(versions[0], 10);
    ck_assert_int_eq(versions[2], 1);
    ck_assert(qd_is_model_folder(folder));
    for (int i = 0; i < QD_MAX_VERSIONS; i++) {
        snprintf(name, sizeof(name), "%d/model.onnx", 100 + i);
        put(name, "x");
    }
    ck_assert_int_eq(qd_versions_list(folder, versions), QD_MAX_VERSIONS);
    ck_assert_int_eq(versions[0], 99 + QD_MAX_VERSIONS);
    ck_assert_int_eq(versions[QD_MAX_VERSIONS - 1], 100); /* the lowest are left out */
    remove_scratch(folder);
}
END_TEST

START_TEST(test_names)
{
    static const struct {
        const char *name, *error; /* NULL: good */
    } rows[] = {{"mobilenet_v2", NULL}, {"Caf\xc3\xa9 2", NULL}, {"", "empty"},
                {".hidden", "dot"},     {"..", "dot"},           {"a/b", "slash"},
                {"a\nb", "control"},    {"\xff", "not UTF-8"},   {"a\x7f", "control"}};
    char longest[200];
    struct qd_error err = {""};

    for (size_t i = 0; i < QD_ARRAY_SIZE(rows); i++) {
        enum qd_status status;

        err.text[0] = 0;
        status = qd_model_name_check(rows[i].name, &err);
        ck_assert_msg(rows[i].error ? status == QD_INVALID && strstr(err.text, rows[i].error) : status == QD_OK,
                      "row %zu: %s", i, err.text);
    }
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = 0;
    ck_assert_int_eq(qd_model_name_check(longest, &err), QD_INVALID);
}
END_TEST

static bool changes(const char *name, const char *text)
{
    struct qd_hash before = qd_version_fingerprint(folder, 1), after;

    put(name, text);
    after = qd_version_fingerprint(folder, 1);
    return memcmp(&before, &after, sizeof(before)) != 0;
}

START_TEST(test_fingerprint)
{
    make_scratch(folder);
    put("1/model.onnx", "one");
    put("model.json", "{}");
    ck_assert(changes("1/model.onnx", "two"));
    ck_assert(changes("model.json", "{ }"));
    ck_assert(changes("labels.txt", "cat"));
    ck_assert(changes("1/weights.bin", "x"));
    ck_assert(!changes("2/model.onnx", "of another version"));
    ck_assert(changes("calibration/a.jpg", "a picture")); /* the folder is there now */
    ck_assert(!changes("calibration/b.jpg", "another"));
    /* What model.json names in other folders. */
    put("shared/net.onnx", "one");
    put("names/labels.txt", "cat\n");
    put("model.json", "{\"onnx\": \"shared/net.onnx\", \"labels\": \"names/labels.txt\"}");
    ck_assert(changes("shared/net.onnx", "two"));
    ck_assert(changes("shared/net.onnx.data", "weights"));
    ck_assert(changes("names/labels.txt", "dog\n"));
    remove_scratch(folder);
}
END_TEST

QD_UNIT_MAIN("versions", test_numbers_of_folders, test_list_highest_first, test_names, test_fingerprint)

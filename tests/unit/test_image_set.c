#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/image.h"
#include "tests/unit/unit.h"
#include "util/file.h"
#include "util/mem.h"

static char folder[64];

static void put(const char *name, const char *text)
{
    char path[192];
    struct qd_error err = {""};

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    ck_assert_ok(qd_file_write_atomic(path, text, strlen(text), &err), &err);
}

static void setup(void)
{
    char path[192];

    snprintf(folder, sizeof(folder), "/tmp/qd-set-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    put("b.jpg", "two");
    put("a.JPEG", "one");
    put("copy of a.png", "one");
    put(".hidden.jpg", "hidden");
    put("notes.txt", "no picture");
    put("c.PnG", "three");
    snprintf(path, sizeof(path), "%s/folder.jpg", folder);
    ck_assert_int_eq(mkdir(path, 0755), 0);
}

static void teardown(void)
{
    char command[160];

    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}

/* Loads with labels (NULL: none); the text of a failure is in err. */
static enum qd_status load(const char *labels, size_t limit, struct qd_image_set *set, struct qd_error *err)
{
    char path[192];

    err->text[0] = 0;
    if (labels)
        put("labels.tsv", labels);
    snprintf(path, sizeof(path), "%s/labels.tsv", folder);
    return qd_image_set_load(folder, labels ? path : NULL, limit, set, err);
}

START_TEST(test_order_duplicates_and_limit)
{
    struct qd_image_set set = {0};
    struct qd_error err;

    setup();
    ck_assert_ok(load(NULL, 0, &set, &err), &err);
    ck_assert_uint_eq(set.n_files, 3);
    ck_assert_uint_eq(set.n_duplicates, 1);
    for (size_t i = 0; i < set.n_files; i++) {
        ck_assert_int_eq(set.files[i].label, -1);
        ck_assert_ptr_null(strstr(set.files[i].path, "copy"));
        if (i)
            ck_assert_int_lt(memcmp(set.files[i - 1].hash.bytes, set.files[i].hash.bytes, QD_HASH_SIZE), 0);
    }
    qd_image_set_done(&set);
    ck_assert_ok(load(NULL, 2, &set, &err), &err);
    ck_assert_uint_eq(set.n_files, 2);
    qd_image_set_done(&set);
    teardown();
}
END_TEST

START_TEST(test_labels)
{
    static const struct {
        const char *labels;
        const char *text;
    } bad[] = {
        {"b.jpg\t3\nnope.jpg\t1\n", "line 2: 'nope.jpg' is no picture of the folder"},
        {"b.jpg 3\n", "line 1: expected 'name TAB class index', found 'b.jpg 3'"},
        {"b.jpg\tdog\n", "line 1: expected a class index from 0 to 1000000 after the TAB, found 'dog'"},
        {"b.jpg\t-1\n", "found '-1'"},
        {"b.jpg\t99999999999999999999\n", "found '99999999999999999999'"},
        {"b.jpg\t3x\n", "found '3x'"},
        {"b.jpg\t3\n\nb.jpg\t4\n", "line 3: 'b.jpg' has a label already, from line 1"},
        {"\t3\n", "line 1: expected 'name TAB class index'"},
        {"\n", "with a label, found none"},
        {"folder.jpg\t1\n", "expected a regular file"},
    };
    struct qd_image_set set = {0};
    struct qd_error err;

    setup();
    ck_assert_ok(load("b.jpg\t3\r\na.JPEG\t0\tn01\ttench", 0, &set, &err), &err);
    ck_assert_uint_eq(set.n_files, 2);
    ck_assert_int_eq(set.files[0].label + set.files[1].label, 3);
    qd_image_set_done(&set);
    for (size_t i = 0; i < QD_ARRAY_SIZE(bad); i++) {
        ck_assert_int_eq(load(bad[i].labels, 0, &set, &err), QD_INVALID);
        ck_assert_msg(strstr(err.text, bad[i].text) != NULL, "expected '%s' in '%s'", bad[i].text, err.text);
    }
    teardown();
}
END_TEST

START_TEST(test_missing_and_empty_folders_and_failing_allocations)
{
    struct qd_image_set set = {0};
    struct qd_error err = {""};
    enum qd_status status = QD_NO_MEMORY;

    ck_assert_int_eq(qd_image_set_load("/nonexistent/folder", NULL, 0, &set, &err), QD_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.text, "/nonexistent/folder"));
    setup();
    for (long n = 0; status != QD_OK && n < 1000; n++) {
        err.text[0] = 0;
        qd_alloc_fail_after(n);
        status = qd_image_set_load(folder, NULL, 0, &set, &err);
        qd_alloc_fail_after(-1);
        ck_assert_msg(status == QD_OK || status == QD_NO_MEMORY, "allocation %ld: status %d, %s", n, status, err.text);
    }
    ck_assert_int_eq(status, QD_OK);
    qd_image_set_done(&set);
    teardown();
    ck_assert_ptr_nonnull(mkdtemp(strcpy(folder, "/tmp/qd-set-XXXXXX")));
    ck_assert_int_eq(load(NULL, 0, &set, &err), QD_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "found none"));
    teardown();
}
END_TEST

QD_UNIT_MAIN("image_set", test_order_duplicates_and_limit, test_labels,
             test_missing_and_empty_folders_and_failing_allocations)

/* The registry's list of names and versions; what it does with models is shown end to end. */
#include <stdio.h>
#include <string.h>

#include "serve/registry.h"
#include "unit.h"

#define MOST 1024

static struct qd_registry *registry;

static void make_registry(void)
{
    struct qd_serve_options options = {.n_runners = 1, .queue_limit = 1};
    struct qd_error err = {""};

    options.model.n_threads = 1;
    options.model.max_batch = 1;
    ck_assert_ok(qd_registry_new(&options, &registry, &err), &err);
}

static enum qd_status set(const char *name, const int *versions, int n, struct qd_error *err)
{
    return qd_registry_set_versions(registry, name, "/nowhere", versions, n, err);
}

START_TEST(test_versions_come_and_go)
{
    struct qd_error err = {""};
    struct qd_entry *entry, *first;

    make_registry();
    ck_assert_ok(set("a", (int[]){1}, 1, &err), &err);
    ck_assert_ok(qd_registry_find(registry, "a", 1, &first, &err), &err);
    for (int v = 2; v < 3 * MOST; v++) {
        ck_assert_ok(set("a", &v, 1, &err), &err);
        ck_assert_ok(qd_registry_find(registry, NULL, 0, &entry, &err), &err);
        ck_assert_int_eq(entry->version, v);
        ck_assert_int_eq(qd_registry_find(registry, "a", v - 1, &entry, &err), QD_NOT_FOUND);
    }
    ck_assert_str_eq(first->name, "a"); /* whoever holds one keeps it */
    ck_assert_ok(set("a", (int[]){1}, 1, &err), &err);
    ck_assert_ok(qd_registry_find(registry, "a", 1, &entry, &err), &err);
    ck_assert_ptr_eq(entry, first);
    qd_registry_free(registry);
}
END_TEST

START_TEST(test_names_come_and_go)
{
    struct qd_error err = {""};
    struct qd_entry *entry;
    char name[32];

    make_registry();
    for (int i = 0; i < 3 * MOST; i++) {
        snprintf(name, sizeof(name), "model%d", i);
        ck_assert_ok(set(name, (int[]){1}, 1, &err), &err);
        ck_assert_ok(qd_registry_find(registry, NULL, 0, &entry, &err), &err);
        ck_assert_str_eq(entry->name, name);
        ck_assert_ok(set(name, NULL, 0, &err), &err);
    }
    qd_registry_free(registry);
}
END_TEST

START_TEST(test_at_most_at_once)
{
    struct qd_error err = {""};
    struct qd_entry *entry;
    char name[32];

    make_registry();
    for (int i = 0; i < MOST; i++) {
        snprintf(name, sizeof(name), "model%d", i);
        ck_assert_ok(set(name, (int[]){1}, 1, &err), &err);
    }
    ck_assert_int_eq(set("one_more", (int[]){1}, 1, &err), QD_TOO_LARGE);
    ck_assert_ptr_nonnull(strstr(err.text, "at most 1024"));
    ck_assert_int_eq(qd_registry_find(registry, "one_more", 0, &entry, &err), QD_NOT_FOUND);
    ck_assert_int_eq(set("model0", (int[]){2, 1}, 2, &err), QD_TOO_LARGE);
    ck_assert_ok(qd_registry_find(registry, "model0", 1, &entry, &err), &err); /* what was there stays */
    ck_assert_ok(set("model1", NULL, 0, &err), &err);
    ck_assert_ok(set("one_more", (int[]){1}, 1, &err), &err);
    ck_assert_int_eq(set("model1", (int[]){1}, 1, &err), QD_TOO_LARGE);
    qd_registry_free(registry);
}
END_TEST

QD_UNIT_MAIN("registry", test_versions_come_and_go, test_names_come_and_go, test_at_most_at_once)

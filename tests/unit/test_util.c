#define _GNU_SOURCE /* sched_getaffinity */
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/scratch.h"
#include "util/buf.h"
#include "util/cores.h"
#include "util/file.h"
#include "util/hash.h"
#include "util/mem.h"
#include "util/name.h"
#include "util/numa.h"

START_TEST(test_error_first_cause_wins_and_context_goes_in_front)
{
    struct qd_error err = {""};

    ck_assert_int_eq(qd_error_set(&err, QD_INVALID, "pads: expected %d values, found %d", 4, 3), QD_INVALID);
    qd_error_set(&err, QD_IO, "later");
    qd_error_context(&err, QD_INVALID, "node '%s'", "conv1");
    ck_assert_str_eq(err.text, "node 'conv1': pads: expected 4 values, found 3");
}
END_TEST

START_TEST(test_error_too_long_ends_in_dots)
{
    struct qd_error err = {""};
    char text[400];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    qd_error_set(&err, QD_INVALID, "%s", text);
    ck_assert_uint_eq(strlen(err.text), QD_ERROR_TEXT_SIZE - 1);
    ck_assert_str_eq(err.text + QD_ERROR_TEXT_SIZE - 4, "...");
    qd_error_context(&err, QD_INVALID, "short");
    ck_assert_str_eq(err.text + QD_ERROR_TEXT_SIZE - 4, "...");
}
END_TEST

START_TEST(test_alloc_is_zeroed_aligned_and_checks_overflow)
{
    unsigned char *p = qd_alloc(100);

    ck_assert_ptr_nonnull(p);
    ck_assert_uint_eq((uintptr_t)p % QD_ALIGNMENT, 0);
    for (int i = 0; i < 100; i++)
        ck_assert_uint_eq(p[i], 0);
    qd_free(p);
    ck_assert_ptr_null(qd_alloc_array(SIZE_MAX / 2, 3));
    ck_assert_ptr_null(qd_alloc(SIZE_MAX - 1));
}
END_TEST

START_TEST(test_alloc_fails_on_demand)
{
    void *p;

    qd_alloc_fail_after(1);
    p = qd_alloc(1);
    ck_assert_ptr_nonnull(p);
    ck_assert_ptr_null(qd_alloc(1));
    qd_alloc_fail_after(-1);
    qd_free(p);
}
END_TEST

START_TEST(test_arena_keeps_its_limit)
{
    struct qd_arena arena = {.limit_bytes = 1000};

    ck_assert_ptr_nonnull(qd_arena_alloc(&arena, 900));
    ck_assert_ptr_null(qd_arena_alloc(&arena, 900));
    qd_arena_done(&arena);
}
END_TEST

START_TEST(test_buf_keeps_its_limit)
{
    struct qd_error err = {""};
    struct qd_buf buf;

    qd_buf_init(&buf, 5);
    ck_assert_ok(qd_buf_append(&buf, "abc", 3, &err), &err);
    ck_assert_int_eq(qd_buf_append(&buf, "def", 3, &err), QD_TOO_LARGE);
    ck_assert_str_eq(err.text, "expected at most 5 bytes, found more");
    ck_assert_ok(qd_buf_printf(&buf, &err, "%d", 12), &err);
    ck_assert_str_eq((char *)buf.bytes, "abc12");
    qd_buf_done(&buf);
}
END_TEST

START_TEST(test_hash_of_abc)
{
    struct qd_hash hash = qd_hash_of("abc", 3);
    char hex[QD_HASH_HEX_SIZE];

    qd_hash_hex(&hash, hex);
    ck_assert_str_eq(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
END_TEST

START_TEST(test_file_round_trip_and_errors)
{
    char folder[] = "/tmp/qd-unit-XXXXXX", path[128], made[128];
    struct qd_error err = {""};
    struct qd_buf buf;

    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(made, sizeof(made), "%s/a/b", folder);
    snprintf(path, sizeof(path), "%s/a/b/file", folder);
    ck_assert_ok(qd_folder_make(made, &err), &err);
    ck_assert_ok(qd_file_write_atomic(path, "hello", 5, &err), &err);
    ck_assert_ok(qd_file_read(path, 100, &buf, &err), &err);
    ck_assert_str_eq((char *)buf.bytes, "hello");
    qd_buf_done(&buf);
    ck_assert_int_eq(qd_file_read(path, 4, &buf, &err), QD_TOO_LARGE);
    err.text[0] = 0;
    ck_assert_int_eq(qd_file_read("/nonexistent/file", 4, &buf, &err), QD_NOT_FOUND);
    ck_assert_str_eq(err.text, "cannot open '/nonexistent/file': No such file or directory");
    err.text[0] = 0;
    ck_assert_int_eq(qd_file_read(made, 4, &buf, &err), QD_INVALID);
    unlink(path);
    rmdir(made);
    snprintf(made, sizeof(made), "%s/a", folder);
    rmdir(made);
    rmdir(folder);
}
END_TEST

START_TEST(test_nearest_name)
{
    static const char *const names[] = {"max_batch", "queue_limit", "listen"};

    ck_assert_str_eq(qd_nearest_name("max_bacth", names, 3), "max_batch");
    ck_assert_str_eq(qd_nearest_name("queue-limit", names, 3), "queue_limit");
    ck_assert_ptr_null(qd_nearest_name("zebra", names, 3));
}
END_TEST

static void add_up(void *context, int processor)
{
    *(int *)context += processor;
}

START_TEST(test_list_of_processors)
{
    static const struct {
        const char *text;
        int sum; /* -1: no list */
    } rows[] = {{"0-3,8\n", 14}, {"5", 5}, {"", 0}, {"\n", 0},      {"1,2,10-11", 24}, {"3-1", -1},
                {"-4", -1},      {"x", -1}, {"1,x", -1}, {"1;2", -1}, {"0-99999", -1},   {"1-", -1}};

    for (size_t i = 0; i < QD_ARRAY_SIZE(rows); i++) {
        int sum = 0;
        bool good = qd_numa_parse_list(rows[i].text, add_up, &sum);

        ck_assert_msg((good ? sum : -1) == rows[i].sum, "'%s': %d", rows[i].text, good ? sum : -1);
    }
}
END_TEST

static void put(const char *root, const char *name, const char *text)
{
    char path[QD_SCRATCH_SIZE + 128];
    struct qd_error err = {""};
    char *slash;

    snprintf(path, sizeof(path), "%s/%s", root, name);
    slash = strrchr(path, '/');
    *slash = 0;
    ck_assert_ok(qd_folder_make(path, &err), &err);
    *slash = '/';
    ck_assert_ok(qd_file_write_atomic(path, text, strlen(text), &err), &err);
}

START_TEST(test_numa_nodes)
{
    char sysfs[QD_SCRATCH_SIZE], list[64];
    cpu_set_t set;
    int first = 0;

    ck_assert_int_eq(sched_getaffinity(0, sizeof(set), &set), 0);
    while (!CPU_ISSET((size_t)first, &set))
        first++;
    make_scratch(sysfs);
    ck_assert_int_eq(qd_numa_n_nodes(sysfs), 1);
    ck_assert(!qd_numa_bind(sysfs, 0));
    put(sysfs, "devices/system/node/node0/cpulist", "1020-1023\n"); /* none of ours */
    snprintf(list, sizeof(list), "%d,1023\n", first);
    put(sysfs, "devices/system/node/node1/cpulist", list);
    put(sysfs, "devices/system/node/node3/cpulist", list);
    put(sysfs, "devices/system/node/node4/cpulist", "noise\n");
    ck_assert_int_eq(qd_numa_n_nodes(sysfs), 2);
    ck_assert(!qd_numa_bind(sysfs, 2));
    ck_assert(qd_numa_bind(sysfs, 1));
    ck_assert_int_eq(sched_getaffinity(0, sizeof(set), &set), 0);
    ck_assert_int_eq(CPU_COUNT(&set), 1);
    ck_assert(CPU_ISSET((size_t)first, &set));
    remove_scratch(sysfs);
}
END_TEST

START_TEST(test_cores_of_a_quota)
{
    char root[QD_SCRATCH_SIZE];

    make_scratch(root);
    ck_assert_int_eq(qd_cores_of_quota(root), 0);
    put(root, "proc/self/cgroup", "0::/kubepods/pod\n");
    ck_assert_int_eq(qd_cores_of_quota(root), 0);
    put(root, "sys/fs/cgroup/kubepods/pod/cpu.max", "max 100000\n");
    ck_assert_int_eq(qd_cores_of_quota(root), 0);
    put(root, "sys/fs/cgroup/kubepods/pod/cpu.max", "250000 100000\n");
    ck_assert_int_eq(qd_cores_of_quota(root), 3);
    /* The group above is tighter, then a looser one. */
    put(root, "sys/fs/cgroup/kubepods/cpu.max", "50000 100000\n");
    ck_assert_int_eq(qd_cores_of_quota(root), 1);
    put(root, "sys/fs/cgroup/kubepods/cpu.max", "800000 100000\n");
    ck_assert_int_eq(qd_cores_of_quota(root), 3);
    /* Version 1, as in a container: the group's path is the host's, the quota lies at the mount's root. */
    put(root, "proc/self/cgroup", "12:cpuset:/docker/x\n4:cpu,cpuacct:/docker/x\n1:name=systemd:/\n");
    ck_assert_int_eq(qd_cores_of_quota(root), 0);
    put(root, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    put(root, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    ck_assert_int_eq(qd_cores_of_quota(root), 0);
    put(root, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "400000\n");
    ck_assert_int_eq(qd_cores_of_quota(root), 4);
    /* Nonsense is no quota. */
    put(root, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "0\n");
    ck_assert_int_eq(qd_cores_of_quota(root), 0);
    remove_scratch(root);
}
END_TEST

QD_UNIT_MAIN("util", test_error_first_cause_wins_and_context_goes_in_front, test_error_too_long_ends_in_dots,
             test_alloc_is_zeroed_aligned_and_checks_overflow, test_alloc_fails_on_demand,
             test_arena_keeps_its_limit, test_buf_keeps_its_limit, test_hash_of_abc,
             test_file_round_trip_and_errors, test_nearest_name, test_list_of_processors, test_numa_nodes,
             test_cores_of_a_quota)

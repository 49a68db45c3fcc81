/* The table of jobs: which recalibrations are remembered, and in which order they are told. */
#include <unistd.h>

#include "serve/jobs.h"
#include "unit.h"

static long start(struct qd_jobs *jobs, struct qd_entry *entry)
{
    const struct qd_job_order order = {.kind = QD_JOB_RECALIBRATE, .entry = entry};
    struct qd_error err = {""};
    long id = 0;

    ck_assert_ok(qd_jobs_start(jobs, &order, &id, &err), &err);
    return id;
}

static void wait_for_failure(struct qd_jobs *jobs, long id)
{
    struct qd_job_info info;
    struct qd_error err = {""};

    do {
        usleep(1000);
        ck_assert_ok(qd_jobs_get(jobs, id, &info, &err), &err);
    } while (info.state == QD_JOB_RUNNING);
    ck_assert_int_eq(info.state, QD_JOB_FAILED);
}

/* One runs on while so many others fail that the first of those are forgotten. */
START_TEST(test_list)
{
    struct qd_serve_options options = {.n_runners = 1, .queue_limit = 1, .model = {.n_threads = 1, .max_batch = 1}};
    struct qd_job_info list[QD_MAX_JOBS];
    struct qd_error err = {""};
    struct qd_registry *registry;
    struct qd_entry *slow, *bad;
    struct qd_jobs *jobs;
    long newest = 0;

    ck_assert_ok(qd_registry_new(&options, &registry, &err), &err);
    ck_assert_ok(qd_registry_set_versions(registry, "slow", "/nowhere", (int[]){1}, 1, &err), &err);
    ck_assert_ok(qd_registry_set_versions(registry, "bad", "/nowhere", (int[]){1}, 1, &err), &err);
    ck_assert_ok(qd_registry_find(registry, "slow", 1, &slow, &err), &err);
    ck_assert_ok(qd_registry_find(registry, "bad", 1, &bad, &err), &err);
    jobs = qd_jobs_new(registry);
    ck_assert_ptr_nonnull(jobs);
    ck_assert_int_eq(qd_jobs_list(jobs, list), 0);

    pthread_mutex_lock(&slow->load_lock); /* its job waits for this */
    ck_assert_int_eq(start(jobs, slow), 1);
    for (int i = 0; i < QD_MAX_JOBS + 5; i++) {
        newest = start(jobs, bad);
        wait_for_failure(jobs, newest);
    }
    ck_assert_int_eq(qd_jobs_list(jobs, list), QD_MAX_JOBS);
    for (int i = 0; i < QD_MAX_JOBS - 1; i++) {
        ck_assert_int_eq(list[i].id, newest - i);
        ck_assert_str_eq(list[i].model, "bad");
    }
    ck_assert_int_eq(list[QD_MAX_JOBS - 1].id, 1);
    ck_assert_int_eq(list[QD_MAX_JOBS - 1].state, QD_JOB_RUNNING);
    ck_assert_str_eq(list[QD_MAX_JOBS - 1].model, "slow");
    ck_assert_int_eq(qd_jobs_get(jobs, 2, list, &err), QD_NOT_FOUND);

    pthread_mutex_unlock(&slow->load_lock);
    qd_jobs_free(jobs);
    qd_registry_free(registry);
}
END_TEST

QD_UNIT_MAIN("jobs", test_list)

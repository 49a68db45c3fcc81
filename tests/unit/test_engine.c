/* The engine's parts: the barrier between steps, the memory plan. */
#include <pthread.h>
#include <time.h>

#include "engine/barrier.h"
#include "engine/internal.h"
#include "engine/team.h"
#include "tests/unit/unit.h"
#include "util/cores.h"

#define MAX_THREADS 16

struct team {
    struct qd_barrier barrier;
    int n_threads, n_generations;
    int marks[MAX_THREADS]; /* plain: only the barrier orders them */
    atomic_int n_wrong;
};

struct member {
    struct team *team;
    int thread;
};

static void *meet(void *context)
{
    const struct member *member = context;
    struct team *team = member->team;

    for (int g = 1; g <= team->n_generations; g++) {
        team->marks[member->thread] = g;
        qd_barrier_wait(&team->barrier, team->n_threads);
        for (int t = 0; t < team->n_threads; t++)
            if (team->marks[t] != g)
                atomic_fetch_add(&team->n_wrong, 1);
        /* One thread is late now and then: the others fall asleep. */
        if (g % 512 == member->thread)
            nanosleep(&(struct timespec){0, 200000}, NULL);
        qd_barrier_wait(&team->barrier, team->n_threads);
    }
    return NULL;
}

static void check_team(int n_threads, int n_generations)
{
    struct team team = {.n_threads = n_threads, .n_generations = n_generations};
    struct member members[MAX_THREADS];
    pthread_t threads[MAX_THREADS];

    qd_barrier_init(&team.barrier, n_threads);
    for (int t = 0; t < n_threads; t++) {
        members[t] = (struct member){&team, t};
        ck_assert_int_eq(pthread_create(&threads[t], NULL, meet, &members[t]), 0);
    }
    for (int t = 0; t < n_threads; t++)
        pthread_join(threads[t], NULL);
    ck_assert_int_eq(atomic_load(&team.n_wrong), 0);
}

START_TEST(test_barrier)
{
    check_team(1, 1000);
    check_team(2, 20000);
    check_team(3, 3000);
    check_team(MAX_THREADS, 300);
}
END_TEST

/* The spin is for teams that have the cores. */
START_TEST(test_barrier_oversubscribed)
{
    struct qd_barrier barrier;

    ck_assert_int_ge(qd_cores_available(), 1);
    qd_barrier_init(&barrier, qd_cores_available());
    ck_assert_int_gt(atomic_load(&barrier.spin_ns), 0);
    qd_barrier_init(&barrier, qd_cores_available() + 1);
    ck_assert_int_eq(atomic_load(&barrier.spin_ns), 0);
}
END_TEST

#define N_PLACES 200

static bool meet_in_time(const struct qd_place *a, const struct qd_place *b)
{
    return a->first_step <= b->last_step && b->first_step <= a->last_step;
}

static bool meet_in_memory(const struct qd_place *a, const struct qd_place *b)
{
    return a->offset < b->offset + b->size && b->offset < a->offset + a->size;
}

static void check_memory_plan(uint32_t seed)
{
    struct qd_place places[N_PLACES] = {0}, *list[N_PLACES];
    struct qd_error err = {""};
    size_t size, sum = 0;

    for (int i = 0; i < N_PLACES; i++) {
        seed = seed * 1664525 + 1013904223;
        places[i].used = true;
        places[i].size = (1 + (seed >> 24)) * QD_ALIGNMENT;
        places[i].first_step = (int)(seed >> 8 & 127);
        places[i].last_step = places[i].first_step + (int)(seed >> 16 & 15);
        list[i] = &places[i];
        sum += places[i].size;
    }
    ck_assert_ok(qd_memory_plan(list, N_PLACES, &size, &err), &err);
    ck_assert_uint_lt(size, sum / 2);
    for (int i = 0; i < N_PLACES; i++) {
        ck_assert_uint_eq(places[i].offset % QD_ALIGNMENT, 0);
        ck_assert_uint_le(places[i].offset + places[i].size, size);
        for (int j = 0; j < i; j++)
            ck_assert_msg(!meet_in_time(&places[i], &places[j]) || !meet_in_memory(&places[i], &places[j]),
                          "places %d and %d live together and share memory", i, j);
    }
}

START_TEST(test_memory_plan)
{
    for (uint32_t seed = 1; seed <= 50; seed++)
        check_memory_plan(seed);
}
END_TEST

/* The share of n runs that had one thread, where a run together and a run alone take so long. */
static double share_alone(struct qd_team *team, int n, bool contended, int64_t together_ns, int64_t alone_ns)
{
    int n_alone = 0;

    for (int i = 0; i < n; i++) {
        int n_threads = qd_team_size(team, 2);

        n_alone += n_threads == 1;
        qd_team_learn(team, n_threads, 4, 4 * (n_threads == 1 ? alone_ns : together_ns),
                      contended && n_threads > 1 ? 2 * together_ns : 0);
    }
    return (double)n_alone / n;
}

/* Runs of one to eight images, for a second; returns the share of the time that was spent running together. */
static double time_together(struct qd_team *team, bool contended, int64_t together_ns, int64_t alone_ns)
{
    int64_t spent[2] = {0, 0};

    for (int i = 0; spent[0] + spent[1] < 1000000000; i++) {
        int n_threads = qd_team_size(team, 2), n_images = 1 + i * 5 % 8;
        int64_t run_ns = n_images * (n_threads == 1 ? alone_ns : together_ns);

        spent[n_threads == 2] += run_ns;
        qd_team_learn(team, n_threads, n_images, run_ns, contended && n_threads > 1 ? run_ns / 2 : 0);
    }
    return (double)spent[1] / (double)(spent[0] + spent[1]);
}

/* Two processes on the same cores: barriers wait for whole time slices. Batches differ from run to run. */
START_TEST(test_team_of_a_small_network)
{
    struct qd_team team = {0};
    const int64_t together_ns = 150000, alone_ns = 250000, contended_ns = 5000000;
    int64_t alone_again_ns = 0;

    ck_assert_double_eq(time_together(&team, false, together_ns, alone_ns), 1);
    time_together(&team, true, contended_ns, 2 * alone_ns); /* the first trial costs a second */
    for (int i = 0; i < 3; i++)
        time_together(&team, true, contended_ns, 2 * alone_ns);
    ck_assert_double_lt(time_together(&team, true, contended_ns, 2 * alone_ns), 0.1);
    /* Once the other has gone, all cores are used again within about a second. */
    while (team.alone) {
        qd_team_learn(&team, 1, 4, 4 * alone_ns, 0);
        alone_again_ns += 4 * alone_ns;
    }
    ck_assert_int_lt(alone_again_ns, 1100000000);
    time_together(&team, false, together_ns, alone_ns);
    ck_assert_double_eq(time_together(&team, false, together_ns, alone_ns), 1);
}
END_TEST

/* Where runs take long, being alone is for a moment: it could not be undone soon. */
START_TEST(test_team_of_a_large_network)
{
    struct qd_team team = {0};

    time_together(&team, false, 20000000, 40000000);
    for (int i = 0; i < 10; i++)
        time_together(&team, true, 45000000, 40000000);
    for (int i = 0; i < 60 && team.alone; i++)
        qd_team_learn(&team, 1, 1, 40000000, 0);
    ck_assert(!team.alone);
}
END_TEST

/* Batches too large to learn from, and sizes that never ran together, prove nothing. */
START_TEST(test_team_of_unknown_sizes)
{
    struct qd_team team = {0};
    int n_alone = 0;

    for (int i = 0; i < 2000; i++) {
        int n_threads = qd_team_size(&team, 2), n_images = n_threads == 1 ? 64 : 4;
        int64_t run_ns = n_threads == 1 ? 20000000 : 1000000;

        n_alone += n_threads == 1;
        qd_team_learn(&team, n_threads, n_images, run_ns, n_threads == 1 ? 0 : run_ns / 2);
    }
    ck_assert_int_gt(n_alone, 0);
    ck_assert_int_lt(n_alone, 500); /* a second for each trial, the next ones ever later */
    team = (struct qd_team){0};
    for (int i = 0; i < 1000; i++) {
        ck_assert_int_eq(qd_team_size(&team, 2), 2);
        qd_team_learn(&team, 2, 64, 1000000, 500000);
    }
}
END_TEST

START_TEST(test_team)
{
    struct qd_team team = {0};

    /* Nothing is tried while nothing is contended. */
    ck_assert_double_eq(share_alone(&team, 1000, false, 5000000, 10000000), 0);
    /* Then what is faster wins, whether or not the cores were ever idle; where being alone does not pay, it is seldom. */
    team = (struct qd_team){0};
    ck_assert_double_lt(share_alone(&team, 10000, true, 250000, 500000), 0.03);
    team = (struct qd_team){0};
    ck_assert_double_gt(share_alone(&team, 10000, true, 500000, 250000), 0.9);
    team = (struct qd_team){0};
    share_alone(&team, 1000, false, 5000000, 10000000);
    /* It changes with what is faster. */
    ck_assert_double_gt(share_alone(&team, 1000, true, 20000000, 10000000), 0.7);
    ck_assert_double_lt(share_alone(&team, 1000, true, 10000000, 20000000), 0.15);
    share_alone(&team, 100, false, 5000000, 10000000);
    ck_assert_double_eq(share_alone(&team, 1000, false, 5000000, 10000000), 0);
    /* A caller that runs alone is left alone. */
    qd_team_learn(&team, 1, 1, 100, 0);
    ck_assert_int_eq(qd_team_size(&team, 2), 2);
}
END_TEST

QD_UNIT_MAIN("engine", test_barrier, test_barrier_oversubscribed, test_memory_plan, test_team,
             test_team_of_a_small_network, test_team_of_a_large_network,
             test_team_of_unknown_sizes)

/*
 * How many threads a run should have. All that it may, but where the cores are contended: a small network, whose steps
 * are microseconds, then waits at its barriers far longer than one thread takes for the whole of it. Both ways are
 * timed in turn and the faster one is kept for a while; as long as nothing is contended nothing is tried.
 *
 * Times are compared as slowness: of the fastest run together of as many images, for batches differ from run to run.
 * Threads: qd_team_learn by one thread, at the end of a run; nobody else at that time.
 */
#ifndef QD_ENGINE_TEAM_H
#define QD_ENGINE_TEAM_H

#include <stdbool.h>
#include <stdint.h>

/* Larger batches are not learnt from. */
#define QD_TEAM_MAX_IMAGES 32

/* A zeroed struct is ready. */
struct qd_team {
    bool alone;        /* the next run has one thread */
    bool alone_won;    /* its trial: it is kept for a while now */
    int n_runs;        /* of this way so far */
    int64_t spent_ns;  /* by them */
    int64_t waited_ns; /* of that, at barriers */
    int n_timed;       /* of those, the ones in sum */
    double sum;        /* slowness of the runs on trial */
    double together;   /* what the last trial together gave */
    double alone_mean; /* what being alone gave, if it won last; else 0 */
    int n_held;        /* runs together until being alone may be tried again */
    int hold;          /* the last n_held granted; 0: being alone won last */
    int alone_hold;    /* runs alone until being together is tried again; 0: being together won last */
    int64_t fastest_ns[QD_TEAM_MAX_IMAGES + 1]; /* run together, by the number of images; 0: none yet */
};

static inline int qd_team_size(const struct qd_team *team, int n_threads)
{
    return team->alone ? 1 : n_threads;
}

/* What a run by n_threads over n_images took, and how long of that a thread waited at barriers, on average. */
void qd_team_learn(struct qd_team *team, int n_threads, int n_images, int64_t run_ns, int64_t waited_ns);

#endif

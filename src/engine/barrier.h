/*
 * The barrier between two steps of a network: every few microseconds, so it spins; beside other busy processes, where a
 * spinning thread keeps the very core that the late one waits for, it sleeps.
 *
 * How long to spin is learnt from the waits themselves: a wait that ended within QD_BARRIER_SPIN_NS says that spinning
 * pays and lengthens the next spin, a longer one halves it. A team of more threads than there are cores never spins.
 * What each thread wrote before the barrier, all of them see after it. Waiting allocates nothing and makes no system
 * call but futex, and none at all while nobody sleeps.
 * Ownership: embedded in what uses it, no done function. Threads: any, but never two teams at once.
 */
#ifndef QD_ENGINE_BARRIER_H
#define QD_ENGINE_BARRIER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/mem.h"

/* The longest spin: about what sleeping and waking costs on a virtual machine. */
#define QD_BARRIER_SPIN_NS 50000

struct qd_barrier {
    _Alignas(QD_ALIGNMENT) atomic_uint generation; /* also the futex */
    _Alignas(QD_ALIGNMENT) atomic_uint n_arrived;
    _Alignas(QD_ALIGNMENT) atomic_uint n_asleep;
    _Alignas(QD_ALIGNMENT) atomic_int spin_ns; /* how long the next wait spins; 0: it sleeps at once */
    int max_spin_ns;
    _Alignas(QD_ALIGNMENT) atomic_llong waited_ns;
};

/* n_threads: how many will wait together, at most. */
void qd_barrier_init(struct qd_barrier *barrier, int n_threads);

/* Returns once n_threads threads have called it; all of them with the same number. One thread returns at once. */
void qd_barrier_wait(struct qd_barrier *barrier, int n_threads);

/* How long threads have waited here, all of them together. */
static inline int64_t qd_barrier_waited_ns(const struct qd_barrier *barrier)
{
    return atomic_load_explicit(&barrier->waited_ns, memory_order_relaxed);
}

#endif

#include "engine/barrier.h"

#include <limits.h>
#include <sched.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#endif
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

#include "util/clock.h"
#include "util/cores.h"

/* Looks at the generation between two looks at the clock. */
#define LOOKS_PER_ROUND 32
/*
 * A short wait lengthens the spin by this much. Little, because two teams that take each other's cores away have short
 * waits in between as well: with one long wait in ten they end at 2 us, a team that is alone is back at full length
 * within a few runs.
 */
#define STEP_NS 128

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

#ifdef __linux__
static void sleep_while(atomic_uint *word, unsigned value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake_all(atomic_uint *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}
#else
static void sleep_while(atomic_uint *word, unsigned value)
{
    (void)word;
    (void)value;
    sched_yield();
}

static void wake_all(atomic_uint *word)
{
    (void)word;
}
#endif

void qd_barrier_init(struct qd_barrier *barrier, int n_threads)
{
    barrier->max_spin_ns = n_threads > qd_cores_available() ? 0 : QD_BARRIER_SPIN_NS;
    atomic_init(&barrier->generation, 0);
    atomic_init(&barrier->n_arrived, 0);
    atomic_init(&barrier->n_asleep, 0);
    atomic_init(&barrier->waited_ns, 0);
    atomic_init(&barrier->spin_ns, barrier->max_spin_ns);
}

/* True when the generation moved on within spin_ns. */
static bool spin(struct qd_barrier *barrier, unsigned generation, int64_t start_ns, int spin_ns)
{
    do {
        for (int i = 0; i < LOOKS_PER_ROUND; i++) {
            if (atomic_load_explicit(&barrier->generation, memory_order_acquire) != generation)
                return true;
            relax();
        }
    } while (qd_now_ns() - start_ns < spin_ns);
    return false;
}

/* Everybody learns from the same waits; a lost update between two threads only slows the learning. */
static void learn(struct qd_barrier *barrier, int spin_ns, int64_t waited_ns)
{
    int next = waited_ns > QD_BARRIER_SPIN_NS ? spin_ns / 2 : spin_ns + STEP_NS;

    atomic_fetch_add_explicit(&barrier->waited_ns, waited_ns, memory_order_relaxed);
    if (next > barrier->max_spin_ns)
        next = barrier->max_spin_ns;
    if (next != spin_ns)
        atomic_store_explicit(&barrier->spin_ns, next, memory_order_relaxed);
}

static void await(struct qd_barrier *barrier, unsigned generation)
{
    int spin_ns = atomic_load_explicit(&barrier->spin_ns, memory_order_relaxed);
    int64_t start_ns = qd_now_ns();

    if (!spin(barrier, generation, start_ns, spin_ns)) {
        /*
         * In one order with release(): either it sees the sleeper and wakes it, or the sleeper's futex sees the new
         * generation and does not sleep.
         */
        atomic_fetch_add(&barrier->n_asleep, 1);
        while (atomic_load(&barrier->generation) == generation)
            sleep_while(&barrier->generation, generation);
        atomic_fetch_sub(&barrier->n_asleep, 1);
    }
    learn(barrier, spin_ns, qd_now_ns() - start_ns);
}

static void release(struct qd_barrier *barrier, unsigned generation)
{
    atomic_store_explicit(&barrier->n_arrived, 0, memory_order_relaxed);
    atomic_store(&barrier->generation, generation + 1);
    if (atomic_load(&barrier->n_asleep))
        wake_all(&barrier->generation);
}

void qd_barrier_wait(struct qd_barrier *barrier, int n_threads)
{
    unsigned generation;

    if (n_threads == 1)
        return;
    /* It cannot move on before this thread has arrived. */
    generation = atomic_load_explicit(&barrier->generation, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&barrier->n_arrived, 1, memory_order_acq_rel) + 1 == (unsigned)n_threads)
        release(barrier, generation);
    else
        await(barrier, generation);
}

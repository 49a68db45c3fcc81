/*
 * A run allocates nothing and makes no system call but futex. Proven in a child that, once warm, runs its frame under a
 * seccomp filter and with malloc counted; what it did is read from shared memory.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

#include "serve/model.h"
#include "tests/unit/unit.h"

#define N_RUNS 50

/* A sanitizer allocates and calls the system itself: quantd's own allocations are counted all the same. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static struct report {
    int system_call; /* the first one that was not allowed, or -1 */
    atomic_long n_allocations;
    bool done;
} * report;

static atomic_bool counting;

#if defined(__GLIBC__) && !SANITIZED
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static void count_allocation(void)
{
    if (atomic_load(&counting))
        atomic_fetch_add(&report->n_allocations, 1);
}

void *malloc(size_t size)
{
    count_allocation();
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    count_allocation();
    return __libc_calloc(n, size);
}

void *realloc(void *memory, size_t size)
{
    count_allocation();
    return __libc_realloc(memory, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    count_allocation();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
    count_allocation();
    *memory = __libc_memalign(alignment, size);
    return *memory ? 0 : ENOMEM;
}
#endif

#if defined(__linux__) && !SANITIZED
static void on_system_call(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    report->system_call = info->si_syscall;
    syscall(SYS_exit_group, 1);
}

#define ALLOW(number) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* For all threads. clock_gettime is no system call but where the machine's clock cannot be read from user space. */
static bool forbid_system_calls(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(SYS_futex),
        ALLOW(SYS_clock_gettime),
        ALLOW(SYS_exit_group),
        ALLOW(SYS_rt_sigreturn),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    };
    struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
    struct sigaction action = {.sa_sigaction = on_system_call, .sa_flags = SA_SIGINFO};

    sigaction(SIGSYS, &action, NULL);
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}
#else
static bool forbid_system_calls(void)
{
    return false;
}
#endif

static void run_in_child(enum qd_precision precision, int batch, int n_threads)
{
    struct qd_model_options options = {.n_threads = 2, .max_batch = 8, .limits = {100000000}, .max_images = 16};
    struct qd_plan_options plan_options = {.precision = precision, .max_batch = batch};
    struct qd_error err = {""};
    struct qd_model *model;
    struct qd_plan *plan;
    struct qd_frame *frame;
    char path[4096];

    snprintf(path, sizeof(path), "%s/models/fashion-mnist", getenv("QD_SRC") ? getenv("QD_SRC") : ".");
    if (qd_kernels_init(&options.kernels, &err) != QD_OK || qd_model_load(path, &options, &model, &err) != QD_OK)
        _exit(2);
    plan_options.kernels = options.kernels;
    if (qd_plan_new(model->graph, &plan_options, &plan, &err) != QD_OK ||
        qd_frame_new(plan, n_threads, &frame, &err) != QD_OK)
        _exit(2);
    /* Alone too, which is what a run may come to where the cores are contended. */
    for (int i = 0; i < 3; i++) {
        qd_frame_run(frame, batch, n_threads);
        qd_frame_run(frame, batch, 1);
    }
    if (!forbid_system_calls())
        printf("# no seccomp here, or a sanitizer: system calls are not covered\n");
    qd_alloc_fail_after(-1);
    atomic_store(&counting, true);
    for (int i = 0; i < N_RUNS; i++)
        qd_frame_run(frame, batch, n_threads);
    atomic_store(&counting, false);
    atomic_fetch_add(&report->n_allocations, qd_alloc_fail_after(-1));
    report->done = true;
    _exit(0);
}

static void check_run(enum qd_precision precision, int batch, int n_threads)
{
    int status;
    pid_t child;

    report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(report, MAP_FAILED);
    report->system_call = -1;
    fflush(stdout);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        run_in_child(precision, batch, n_threads);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(report->system_call < 0, "batch %d, %d threads: system call %d in a run", batch, n_threads,
                  report->system_call);
    ck_assert_msg(report->done, "the child failed: status %d", status);
    ck_assert_msg(report->n_allocations == 0, "batch %d, %d threads: %ld allocations in %d runs", batch, n_threads,
                  (long)report->n_allocations, N_RUNS);
    munmap(report, sizeof(*report));
}

START_TEST(test_int8)
{
    check_run(QD_PRECISION_Q8, 1, 1);
    check_run(QD_PRECISION_Q8, 1, 2);
    check_run(QD_PRECISION_Q8, 5, 2);
    check_run(QD_PRECISION_Q8, 8, 4);
}
END_TEST

START_TEST(test_fp32)
{
    check_run(QD_PRECISION_F32, 1, 1);
    check_run(QD_PRECISION_F32, 5, 2);
}
END_TEST

QD_UNIT_MAIN("run_loop", test_int8, test_fp32)

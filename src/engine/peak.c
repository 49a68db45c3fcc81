#include "engine/plan.h"
#include "util/clock.h"

#define TRY_NS 300000
#define TOTAL_NS 100000000 /* many short tries: on a busy machine some go undisturbed */

/* Multiply-accumulates per second of one thread, the best of its tries. */
static double best_rate(const struct qd_kernels *kernels)
{
    int64_t iterations = 1000, begin = qd_now_ns(), end;
    double best = 0;
    int32_t sink;

    do {
        int64_t start = qd_now_ns(), macs = kernels->peak(iterations, &sink);
        double rate;

        end = qd_now_ns();
        rate = (double)macs / (double)(end - start) * 1e9;
        best = rate > best ? rate : best;
        if (end - start < TRY_NS)
            iterations *= 2;
    } while (end - begin < TOTAL_NS);
    return best;
}

double qd_peak_macs_per_second(const struct qd_kernels *kernels, int n_threads)
{
    double sum = 0;

    (void)n_threads;
#pragma omp parallel num_threads(n_threads) reduction(+ : sum)
    sum += best_rate(kernels);
    return sum;
}

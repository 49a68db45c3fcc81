/* The histogram against its samples. test_method has its errors on exact distributions. */
#include <math.h>
#include <string.h>

#include "quant/histogram.h"
#include "tests/unit/unit.h"
#include "util/mem.h"

#define N (1 << 20)

static float *samples;

/* E x^2 = 1, so the rate is sqrt(2). */
static double exponential(double p)
{
    return -log1p(-p) / sqrt(2);
}

static void fill(struct qd_histogram *h)
{
    struct qd_error err = {""};

    samples = qd_alloc_array(N, sizeof(float));
    for (int i = 0; i < N; i++)
        samples[i] = (float)exponential((i + 0.5) / N);
    ck_assert_ok(qd_histogram_add(h, samples, N, &err), &err);
}

static double direct_error(const float *x, size_t n, double scale, int zero, int max)
{
    double error = 0;

    for (size_t i = 0; i < n; i++) {
        double q = fmin(fmax(rint((double)x[i] / scale) + zero, 0), max), d = (double)x[i] - (q - zero) * scale;

        error += d * d;
    }
    return error;
}

START_TEST(test_counts_and_order)
{
    const float x[] = {0, -0.0f, 1, 1.001f, -3, NAN, INFINITY, 1e-40f, 2};
    struct qd_histogram a = {0}, b = {0};
    struct qd_bin *bins_a, *bins_b;
    struct qd_error err = {""};
    size_t n_a, n_b;

    ck_assert_ok(qd_histogram_add(&a, x, 9, &err), &err);
    for (int i = 8; i >= 0; i--)
        ck_assert_ok(qd_histogram_add(&b, &x[i], 1, &err), &err);
    ck_assert_uint_eq(a.n, 9);
    ck_assert_uint_eq(a.n_zero, 2);
    ck_assert_uint_eq(a.n_not_finite, 2);
    ck_assert_float_eq(a.min, -3);
    ck_assert_float_eq(a.max, 2);
    ck_assert_ok(qd_histogram_bins(&a, &bins_a, &n_a, &err), &err);
    ck_assert_ok(qd_histogram_bins(&b, &bins_b, &n_b, &err), &err);
    ck_assert_uint_eq(n_a, n_b);
    ck_assert_mem_eq(bins_a, bins_b, n_a * sizeof(*bins_a));
    ck_assert_double_eq_tol(qd_bins_energy(bins_a, n_a), 1 + 1.001 * 1.001 + 9 + 4, 1e-6);
    qd_free(bins_a);
    qd_free(bins_b);
    qd_histogram_done(&a);
    qd_histogram_done(&b);
}
END_TEST

START_TEST(test_error_is_exact_for_powers_of_two)
{
    struct qd_histogram h = {0};
    struct qd_error err = {""};
    struct qd_bin *bins;
    size_t n;

    fill(&h);
    for (int i = 0; i < N; i += 3)
        samples[i] = -samples[i] / 2;
    qd_histogram_done(&h);
    ck_assert_ok(qd_histogram_add(&h, samples, N, &err), &err);
    ck_assert_ok(qd_histogram_bins(&h, &bins, &n, &err), &err);
    for (int e = -8; e <= -3; e++) {
        double want = direct_error(samples, N, exp2(e), 60, 255);

        ck_assert_double_eq_tol(qd_bins_error(bins, n, exp2(e), 60, 255) / want, 1, 1e-9);
        /* Any other step: bins are split as if uniform inside. */
        want = direct_error(samples, N, 1.3 * exp2(e), 60, 255);
        ck_assert_double_eq_tol(qd_bins_error(bins, n, 1.3 * exp2(e), 60, 255) / want, 1, 2e-3);
    }
    qd_free(bins);
    qd_free(samples);
    qd_histogram_done(&h);
}
END_TEST

QD_UNIT_MAIN("quant", test_counts_and_order, test_error_is_exact_for_powers_of_two)

/* Histogram and methods against the exact distributions of the design's table. */
#include <math.h>
#include <string.h>

#include "quant/method.h"
#include "tests/unit/unit.h"
#include "util/mem.h"

#define N (1 << 20)

static float *samples;

/* The inverse of the normal distribution's upper half by bisection of erf. */
static double half_normal(double p)
{
    double low = 0, high = 8;

    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;

        if (erf(middle / sqrt(2)) < p)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* E x^2 = 1, so the rate is sqrt(2). */
static double exponential(double p)
{
    return -log1p(-p) / sqrt(2);
}

static void fill(struct qd_histogram *h, double (*inverse)(double p))
{
    struct qd_error err = {""};

    samples = qd_alloc_array(N, sizeof(float));
    for (int i = 0; i < N; i++)
        samples[i] = (float)inverse((i + 0.5) / N);
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

    fill(&h, exponential);
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

/* The best unsigned clip and its SQNR at 4, 6 and 8 bits; the best power-of-two step at 8 bits. */
static void check_distribution(double (*inverse)(double p), const double clip[3], const double sqnr[3], int exponent,
                               double mse)
{
    struct qd_histogram h = {0};
    struct qd_error err = {""};
    struct qd_bin *bins;
    size_t n;
    double least = INFINITY;
    int best = 0;

    fill(&h, inverse);
    ck_assert_ok(qd_histogram_bins(&h, &bins, &n, &err), &err);
    for (int i = 0; i < 3; i++) {
        const struct qd_bin *const list[] = {bins};
        struct qd_distribution d = {list, &n, 1, h.min, h.max};
        struct qd_qparams q = qd_method_adlq.choose(&d, 4 + 2 * i);
        double found = 10 * log10(qd_bins_energy(bins, n) / qd_distribution_error(&d, q));

        ck_assert_int_eq(q.zero_point, 0);
        ck_assert_double_eq_tol((double)q.scale * ((1 << q.bits) - 1) / clip[i], 1, 0.02);
        /* A million quantiles end before the distribution does: at 8 bits that is worth almost 0.1 dB. */
        ck_assert_double_eq_tol(found, sqnr[i], 0.1);
    }
    for (int e = -10; e <= 0; e++) {
        double error = qd_bins_error(bins, n, exp2(e), 0, 255) / N;

        if (error < least) {
            least = error;
            best = e;
        }
    }
    ck_assert_int_eq(best, exponent);
    ck_assert_double_eq_tol(least / mse, 1, 0.03); /* the missing tail again */
    qd_free(bins);
    qd_free(samples);
    qd_histogram_done(&h);
}

START_TEST(test_half_normal)
{
    const double clip[] = {2.89873, 3.60746, 4.21468}, sqnr[] = {24.326, 35.106, 46.019};

    check_distribution(half_normal, clip, sqnr, -6, 2.698648e-5);
}
END_TEST

START_TEST(test_exponential)
{
    const double clip[] = {4.31196, 6.09373, 7.88815}, sqnr[] = {20.417, 30.178, 40.267};

    check_distribution(exponential, clip, sqnr, -5, 9.413046e-5);
}
END_TEST

START_TEST(test_minmax_covers_the_range)
{
    struct qd_distribution d = {.min = -1, .max = 3};
    struct qd_qparams q = qd_method_minmax.choose(&d, 8);

    ck_assert_float_le((float)-q.zero_point * q.scale, -1 + q.scale);
    ck_assert_float_ge((float)(255 - q.zero_point) * q.scale, 3 - q.scale);
}
END_TEST

QD_UNIT_MAIN("quant", test_counts_and_order, test_error_is_exact_for_powers_of_two, test_half_normal, test_exponential,
             test_minmax_covers_the_range)

/*
 * Methods against exact distributions: bins are filled with the integrals of the density, not with samples, so what is
 * left of an error is how bins are cut. The constants are those of the literature and of the best grid found by search
 * on the densities themselves; all distributions have E x^2 = 1.
 */
#include <math.h>
#include <string.h>

#include "quant/method.h"
#include "tests/unit/unit.h"
#include "util/mem.h"

#define LOWEST_OCTAVE (-26)
#define N_BITS 3 /* 4, 6 and 8 */

/* A density of |x|, from 0 to end, a power of two. */
struct density {
    double (*at)(double x);
    int end_exponent;
};

static double normal_at(double x)
{
    return sqrt(2 / M_PI) * exp(-x * x / 2);
}

static double exponential_at(double x)
{
    return M_SQRT2 * exp(-M_SQRT2 * x);
}

static double uniform_at(double x)
{
    (void)x;
    return 1;
}

static const struct density normal = {normal_at, 4}, exponential = {exponential_at, 5}, uniform = {uniform_at, 0};

/* The histogram's bins with a density's moments: n values, of both signs or only positive ones. */
struct filled {
    struct qd_bin *bins;
    const struct qd_bin *const *list;
    const struct qd_bin *first;
    size_t n_bins;
    struct qd_distribution d;
};

/* Gauss and Legendre, 5 points: exact far below a double's last digit over 1/256 of an octave. */
static struct qd_bin integrate(const struct density *density, double low, double high)
{
    static const double at[] = {-0.9061798459386640, -0.5384693101056831, 0, 0.5384693101056831, 0.9061798459386640};
    static const double weights[] = {0.2369268850561891, 0.4786286704993665, 0.5688888888888889, 0.4786286704993665,
                                     0.2369268850561891};
    struct qd_bin bin = {.low = low, .high = high};

    for (int i = 0; i < 5; i++) {
        double x = (low + high) / 2 + at[i] * (high - low) / 2, n = density->at(x) * weights[i] * (high - low) / 2;

        bin.n += n;
        bin.sum += n * x;
        bin.squares += n * x * x;
    }
    return bin;
}

static struct qd_bin mirrored(struct qd_bin bin)
{
    return (struct qd_bin){-bin.high, -bin.low, bin.n, -bin.sum, bin.squares};
}

static void fill(struct filled *f, const struct density *density, bool is_signed)
{
    size_t n = (size_t)(density->end_exponent - LOWEST_OCTAVE) * 256;
    float end = (float)exp2(density->end_exponent);

    f->n_bins = is_signed ? 2 * n : n;
    f->bins = qd_alloc_array(f->n_bins, sizeof(*f->bins));
    for (size_t i = 0; i < n; i++) {
        double octave = exp2(LOWEST_OCTAVE + (int)(i / 256)), step = octave / 256;
        struct qd_bin bin =
            integrate(density, octave + step * (double)(i % 256), octave + step * (double)(i % 256 + 1));

        if (is_signed) {
            bin.n /= 2;
            bin.sum /= 2;
            bin.squares /= 2;
            f->bins[n - 1 - i] = mirrored(bin);
        }
        f->bins[is_signed ? n + i : i] = bin;
    }
    f->first = f->bins;
    f->list = &f->first;
    f->d = (struct qd_distribution){f->list, &f->n_bins, 1, is_signed ? -end : 0, end, 1};
}

static void done(struct filled *f)
{
    qd_free(f->bins);
}

static double error_of(const struct filled *f, double step, int zero_point, int max)
{
    return qd_bins_error(f->bins, f->n_bins, step, zero_point, max);
}

/* The step of least error for a zero point and a highest level: a fine scan around a guess, then a golden section. */
static double best_step(const struct filled *f, int zero_point, int max, double guess, double *ret_error)
{
    const double golden = 0.6180339887498949;
    double best = guess, least = INFINITY, low, high;

    for (int i = -200; i <= 200; i++) {
        double step = guess * exp2(i / 400.0), error = error_of(f, step, zero_point, max);

        if (error < least) {
            least = error;
            best = step;
        }
    }
    low = best * exp2(-1 / 400.0);
    high = best * exp2(1 / 400.0);
    for (int i = 0; i < 30; i++) {
        double a = high - golden * (high - low), b = low + golden * (high - low);

        if (error_of(f, a, zero_point, max) < error_of(f, b, zero_point, max))
            high = b;
        else
            low = a;
    }
    *ret_error = error_of(f, (low + high) / 2, zero_point, max);
    return (low + high) / 2;
}

static double db(double error)
{
    return -10 * log10(error);
}

START_TEST(test_bins_hold_their_density)
{
    const struct density *const densities[] = {&normal, &exponential, &uniform};
    const double squares[] = {1, 1, 1.0 / 3};

    for (size_t i = 0; i < QD_ARRAY_SIZE(densities); i++) {
        struct filled f;

        fill(&f, densities[i], i % 2);
        ck_assert_double_eq_tol(qd_bins_energy(f.bins, f.n_bins), squares[i], 1e-12);
        done(&f);
    }
}
END_TEST

/* K = 127 on [-1, 1]: D = 1 / 127.5 and D^2 / 12. */
START_TEST(test_uniform)
{
    struct filled f;
    double error, step;

    fill(&f, &uniform, true);
    ck_assert_double_eq_tol(error_of(&f, 1 / 127.5, 127, 254), 5.12623e-6, 1e-11);
    step = best_step(&f, 127, 254, 1.0 / 127, &error);
    ck_assert_double_eq_tol(step * 127.5, 1, 1e-4);
    done(&f);
}
END_TEST

/* The best clip and SQNR: 2^bits - 1 levels around 0, or 2^bits from 0 up. */
START_TEST(test_best_grids)
{
    static const struct {
        const struct density *density;
        bool is_signed;
        double clip[N_BITS], sqnr_db[N_BITS];
    } rows[] = {
        {&normal, true, {2.47388, 3.27011, 3.92050}, {18.898, 29.709, 40.540}},
        {&exponential, true, {3.40819, 5.20331, 6.98809}, {15.623, 25.259, 35.181}},
        {&normal, false, {2.89873, 3.60746, 4.21468}, {24.326, 35.106, 46.019}},
        {&exponential, false, {4.31196, 6.09373, 7.88815}, {20.417, 30.178, 40.267}},
    };

    for (size_t r = 0; r < QD_ARRAY_SIZE(rows); r++) {
        struct filled f;

        fill(&f, rows[r].density, rows[r].is_signed);
        for (int b = 0; b < N_BITS; b++) {
            int bits = 4 + 2 * b, k = (1 << (bits - rows[r].is_signed)) - 1;
            int zero_point = rows[r].is_signed ? k : 0, max = rows[r].is_signed ? 2 * k : k;
            double error, step = best_step(&f, zero_point, max, rows[r].clip[b] / k, &error);

            ck_assert_double_eq_tol(step * k / rows[r].clip[b], 1, 1e-3);
            ck_assert_double_eq_tol(db(error), rows[r].sqnr_db[b], 1e-3);
            if (!rows[r].is_signed) {
                struct qd_qparams q = qd_method_adlq.choose(&f.d, bits);

                ck_assert_int_eq(q.zero_point, 0);
                ck_assert_double_eq_tol((double)q.scale * k / rows[r].clip[b], 1, 1e-3);
                ck_assert_double_eq_tol(db(qd_distribution_error(&f.d, q)), rows[r].sqnr_db[b], 1e-3);
            }
        }
        done(&f);
    }
}
END_TEST

/* Steps of a power of two at 8 bits; signed levels are -127 .. 127. No bin is cut, so all printed digits hold. */
START_TEST(test_powers_of_two)
{
    static const struct {
        const struct density *density;
        bool is_signed;
        int exponent;
        double mse;
    } rows[] = {
        {&normal, true, -5, 8.851257e-5},
        {&exponential, true, -4, 3.387746e-4},
        {&normal, false, -6, 2.698648e-5},
        {&exponential, false, -5, 9.413046e-5},
    };

    for (size_t r = 0; r < QD_ARRAY_SIZE(rows); r++) {
        int best = 0;
        double least = INFINITY;
        struct filled f;

        fill(&f, rows[r].density, rows[r].is_signed);
        for (int e = -12; e <= 0; e++) {
            double error = error_of(&f, exp2(e), rows[r].is_signed ? 127 : 0, rows[r].is_signed ? 254 : 255);

            if (error < least) {
                least = error;
                best = e;
            }
        }
        ck_assert_int_eq(best, rows[r].exponent);
        ck_assert_double_eq_tol(least / rows[r].mse, 1, 2e-7);
        done(&f);
    }
}
END_TEST

/* Against the best step, over an octave of positions of the distribution between powers of two; Gauss, -127 .. 127. */
START_TEST(test_loss_of_powers_of_two)
{
    enum { N_POSITIONS = 256 };
    double mean = 0, worst = 0, least;
    struct filled f;

    fill(&f, &normal, true);
    best_step(&f, 127, 254, 3.92 / 127, &least);
    for (int i = 0; i < N_POSITIONS; i++) {
        double best = INFINITY;

        for (int e = -7; e <= -3; e++)
            best = fmin(best, error_of(&f, exp2(e + (double)i / N_POSITIONS), 127, 254));
        mean += db(least / best) / N_POSITIONS;
        worst = fmax(worst, db(least / best));
    }
    ck_assert_double_eq_tol(mean, 1.62, 0.005);
    ck_assert_double_eq_tol(worst, 3.87,
                            0.03); /* on a cusp, which a sweep misses by as much: 3.898 with 4096 positions */
    done(&f);
}
END_TEST

/* A method's clip on a density, in units of its highest level. */
static double clip_of(const struct qd_method *method, const struct density *density, bool is_signed, int bits)
{
    struct filled f;
    struct qd_qparams q;

    fill(&f, density, is_signed);
    q = method->choose(&f.d, bits);
    done(&f);
    ck_assert_int_eq(q.bits, bits);
    ck_assert_int_eq(q.zero_point, is_signed ? 1 << (bits - 1) : 0);
    return (double)q.scale * ((1 << (bits - is_signed)) - 1);
}

/* The clips by themselves, and chosen from the moments with the right family; exponential: b = 1 / sqrt 2. */
START_TEST(test_aciq)
{
    static const double gauss[N_BITS] = {2.559136, 3.286914, 3.924035};
    static const double laplace[N_BITS] = {5.028640, 7.413126, 9.896760};
    static const double one_sided[N_BITS] = {6.204766, 8.645620, 11.162685};

    for (int b = 0; b < N_BITS; b++) {
        int bits = 4 + 2 * b;

        ck_assert_double_eq_tol(qd_aciq_gauss(bits), gauss[b], 1e-6);
        ck_assert_double_eq_tol(qd_aciq_laplace(bits), laplace[b], 1e-6);
        ck_assert_double_eq_tol(qd_aciq_laplace(bits + 1), one_sided[b], 1e-6);
        ck_assert_double_eq_tol(clip_of(&qd_method_aciq, &normal, true, bits), gauss[b], 2e-6);
        ck_assert_double_eq_tol(clip_of(&qd_method_aciq, &exponential, true, bits), laplace[b] * M_SQRT1_2, 2e-6);
        ck_assert_double_eq_tol(clip_of(&qd_method_aciq, &exponential, false, bits), one_sided[b] * M_SQRT1_2, 2e-6);
        ck_assert_double_eq_tol(clip_of(&qd_method_aciq, &normal, false, bits), qd_aciq_gauss(bits + 1), 2e-6);
        /* Never beyond the largest value: its moments let a uniform distribution look longer than it is. */
        ck_assert_double_eq_tol(clip_of(&qd_method_aciq, &uniform, true, bits), 1, 1e-6);
    }
}
END_TEST

START_TEST(test_octav)
{
    static const double gauss[N_BITS] = {2.562090, 3.287162, 3.924054};
    static const double laplace[N_BITS] = {3.559639, 5.242248, 6.998098};

    for (int b = 0; b < N_BITS; b++) {
        int bits = 4 + 2 * b;

        ck_assert_double_eq_tol(clip_of(&qd_method_octav, &normal, true, bits), gauss[b], 2e-6);
        ck_assert_double_eq_tol(clip_of(&qd_method_octav, &exponential, true, bits), laplace[b], 2e-6);
        /* Unsigned levels halve the step: as a bit more. */
        ck_assert_double_eq_tol(clip_of(&qd_method_octav, &exponential, false, bits),
                                clip_of(&qd_method_octav, &exponential, true, bits + 1), 2e-6);
    }
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

/* Of an exponential distribution with nine zeros for each other value; P(x > v) = exp(-sqrt 2 v). */
START_TEST(test_percentiles)
{
    static const struct {
        const struct qd_method *method;
        double cut;
    } rows[] = {{&qd_method_percentile_99_99, 5e-5}, {&qd_method_percentile_99_999, 5e-6}};

    for (size_t r = 0; r < QD_ARRAY_SIZE(rows); r++) {
        struct qd_qparams q;
        struct filled f;

        fill(&f, &exponential, false);
        f.d.n_values = 10;
        q = rows[r].method->choose(&f.d, 8);
        ck_assert_int_eq(q.zero_point, 0);
        ck_assert_double_eq_tol((double)q.scale * 255 / (-log(10 * rows[r].cut) / M_SQRT2), 1, 1e-4);
        /* Hardly anything but zeros: the range. */
        f.d.n_values = 10000000;
        ck_assert_float_eq(rows[r].method->choose(&f.d, 8).scale, qd_method_minmax.choose(&f.d, 8).scale);
        done(&f);
        fill(&f, &exponential, true);
        q = rows[r].method->choose(&f.d, 8);
        ck_assert_double_eq_tol((double)q.scale * 255 / (-2 * log(2 * rows[r].cut) / M_SQRT2), 1, 1e-4);
        ck_assert_int_eq(q.zero_point, 128); /* 127.5, to even */
        done(&f);
    }
}
END_TEST

/* D(P || Q) of a threshold, as its definition says. */
static double plain_divergence(const double *counts, int n, int n_bins, int n_levels)
{
    double p[256], q[256], sum_p = 0, sum_q = 0, result = 0;

    for (int i = 0; i < n; i++)
        p[i] = counts[i];
    for (int i = n; i < n_bins; i++)
        p[n - 1] += counts[i];
    for (int i = 0; i < n; i++) {
        double sum = 0;
        int n_used = 0;

        for (int j = 0; j < n; j++) {
            if (j * n_levels / n != i * n_levels / n)
                continue;
            sum += counts[j];
            n_used += counts[j] > 0;
        }
        q[i] = counts[i] > 0 ? sum / n_used : 0;
        sum_p += p[i];
        sum_q += q[i];
    }
    for (int i = 0; i < n; i++)
        if (p[i] > 0)
            result += p[i] / sum_p * log(p[i] / sum_p / (fmax(q[i], 1e-4) / sum_q));
    return result;
}

START_TEST(test_entropy_threshold_is_the_least_divergence)
{
    enum { N = 256, LEVELS = 16 };
    uint32_t random = 1;

    for (int round = 0; round < 20; round++) {
        double counts[N], least = INFINITY;
        int best = 0;

        for (int i = 0; i < N; i++) {
            random = random * 1664525 + 1013904223;
            /* A tail with holes, longer each round. */
            counts[i] = random >> 28 ? 1000 * exp(-i / (4.0 + 2 * round)) * (random >> 16) : 0;
        }
        for (int n = LEVELS; n <= N; n++) {
            double loss = plain_divergence(counts, n, N, LEVELS);

            if (loss < least - 1e-12) {
                least = loss;
                best = n;
            }
        }
        ck_assert_int_eq(qd_entropy_threshold(counts, N, LEVELS), best);
    }
}
END_TEST

/* Nothing beyond the threshold to lose, so the range stays; an outlier far away goes. */
START_TEST(test_entropy)
{
    struct filled f;
    struct qd_qparams q;

    fill(&f, &uniform, true);
    q = qd_method_entropy.choose(&f.d, 8);
    ck_assert_double_eq_tol((double)q.scale * 255, 2, 1e-6);
    done(&f);
    fill(&f, &exponential, false); /* to 32: the last value is one of e^-45 */
    q = qd_method_entropy.choose(&f.d, 8);
    ck_assert_int_eq(q.zero_point, 0);
    ck_assert_double_lt((double)q.scale * 255, 12);
    ck_assert_double_gt((double)q.scale * 255, 2);
    done(&f);
}
END_TEST

START_TEST(test_pow2_max)
{
    static const struct {
        float min, max;
        int bits;
        double scale;
        int zero_point;
    } rows[] = {
        {0, 1, 8, 1.0 / 256, 0},       {0, 1.01f, 8, 1.0 / 128, 0}, {-1, 0.5f, 8, 1.0 / 128, 128},
        {-1, 1.01f, 8, 1.0 / 64, 128}, {-3, 0, 4, 0.5, 8},          {0, 100, 4, 8, 0},
    };

    for (size_t r = 0; r < QD_ARRAY_SIZE(rows); r++) {
        struct qd_distribution d = {.min = rows[r].min, .max = rows[r].max};
        struct qd_qparams q = qd_method_pow2_max.choose(&d, rows[r].bits);

        ck_assert_double_eq((double)q.scale, rows[r].scale);
        ck_assert_int_eq(q.zero_point, rows[r].zero_point);
    }
}
END_TEST

static void check_qparams(const struct qd_method *method, const struct qd_distribution *d, struct qd_qparams q,
                          int bits)
{
    int highest = (1 << bits) - 1;

    ck_assert_msg(isfinite(q.scale) && q.scale > 0 && q.bits == bits, "%s, %d bits: scale %g", method->name, bits,
                  (double)q.scale);
    ck_assert_msg(q.zero_point >= 0 && q.zero_point <= highest && (d->min < 0 || !q.zero_point),
                  "%s, %d bits: zero point %d", method->name, bits, q.zero_point);
    ck_assert_msg(qd_distribution_error(d, q) < qd_bins_energy(d->bins[0], d->n_bins[0]),
                  "%s, %d bits: worse than all zeros", method->name, bits);
}

/* Every method, every width: sane results, the same for one tensor as for a class of two alike, and for nothing at all.
 */
START_TEST(test_all_methods)
{
    char list[QD_METHOD_LIST_SIZE];

    qd_method_list(list, sizeof(list));
    ck_assert_uint_lt(strlen(list), sizeof(list) - 1);
    for (int m = 0; qd_method_at(m); m++) {
        const struct qd_method *method = qd_method_at(m);

        ck_assert_ptr_eq(qd_method_find(method->name), method);
        ck_assert_ptr_nonnull(strstr(list, method->name));
        for (int bits = 4; bits <= 8; bits++) {
            struct qd_distribution none = {0};
            struct qd_qparams q = method->choose(&none, bits);

            ck_assert_float_eq(q.scale, 1);
            ck_assert_int_eq(q.zero_point, 0);
            for (int is_signed = 0; is_signed < 2; is_signed++) {
                const struct qd_bin *twice[2];
                size_t n_twice[2];
                struct filled f;
                struct qd_distribution pair;

                fill(&f, &exponential, is_signed);
                twice[0] = twice[1] = f.bins;
                n_twice[0] = n_twice[1] = f.n_bins;
                pair = (struct qd_distribution){twice, n_twice, 2, f.d.min, f.d.max, 2 * f.d.n_values};
                q = method->choose(&f.d, bits);
                check_qparams(method, &f.d, q, bits);
                ck_assert_double_eq_tol((double)(method->choose(&pair, bits).scale / q.scale), 1, 1e-6);
                done(&f);
            }
        }
    }
    ck_assert_ptr_null(qd_method_find("magic"));
    ck_assert_str_eq(qd_method_list(list, 6), "adlq,");
}
END_TEST

QD_UNIT_MAIN("method", test_bins_hold_their_density, test_uniform, test_best_grids, test_powers_of_two,
             test_loss_of_powers_of_two, test_aciq, test_octav, test_minmax_covers_the_range, test_percentiles,
             test_entropy_threshold_is_the_least_divergence, test_entropy, test_pow2_max, test_all_methods)

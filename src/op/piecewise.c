#include "op/piecewise.h"

#include <math.h>

#include "kernel/requant.h"

/* Beyond here every function is its line as far as a double of its size can tell. */
#define FAR_X 40.0
#define N_SAMPLES 4096

/* The function, and the lines that it goes to: at -infinity and infinity. */
struct target {
    const struct qd_activation *act;
    double step, zero, low, high;
    double slope[2], value[2];
    double line_error; /* up to which the function counts as its line: a quarter of what the whole fit may be off */
    double least_x;    /* below it the lowest byte is wanted: see clip_input */
};

/*
 * lowest: the x of the function's minimum; -infinity where it only rises. finest_octave: the finest step that the whole
 * function can be fitted in, off by QD_PIECEWISE_STEPS_ERROR, is 2 to that; 0: channels have no steps of their own.
 */
static const struct {
    enum qd_activation_kind kind;
    double slope[2], value[2], lowest, finest_octave;
} ends[] = {
    {QD_ACT_SIGMOID, {0, 0}, {0, 1}, -INFINITY, 0},     {QD_ACT_TANH, {0, 0}, {-1, 1}, -INFINITY, 0},
    {QD_ACT_SILU, {0, 1}, {0, 0}, -1.278464543, -7.75}, {QD_ACT_GELU, {0, 1}, {0, 0}, -0.751791525, -11},
    {QD_ACT_MISH, {0, 1}, {0, 0}, -1.192468620, -8.25},
};

static int find_ends(enum qd_activation_kind kind)
{
    for (size_t i = 0; i < QD_ARRAY_SIZE(ends); i++)
        if (ends[i].kind == kind)
            return (int)i;
    return -1;
}

bool qd_piecewise_fits(enum qd_activation_kind kind)
{
    return find_ends(kind) >= 0;
}

double qd_piecewise_finest(enum qd_activation_kind kind)
{
    int row = find_ends(kind);

    return row < 0 || ends[row].finest_octave == 0 ? 0 : exp2(ends[row].finest_octave);
}

static double exact(const struct target *f, double t)
{
    return qd_activation_f64(f->act, t * f->step) / f->step + f->zero;
}

/* The error that is left after both are clamped to bytes. */
static double error_of(const struct target *f, double t, double y)
{
    double wanted = t * f->step < f->least_x ? f->low : exact(f, t);

    return fabs(fmin(fmax(y, f->low), f->high) - fmin(fmax(wanted, f->low), f->high));
}

/* Dense around 0, where fine steps have all their bytes. */
static double sample(const struct target *f, int i)
{
    double u = 2.0 * i / N_SAMPLES - 1;

    return FAR_X * u * u * u / f->step;
}

/* The t between which neither line will do. */
static void find_inside(const struct target *f, double *ret_begin, double *ret_end)
{
    int first = 0, last = N_SAMPLES;

    while (first < last && error_of(f, sample(f, first),
                                    f->slope[0] * sample(f, first) + f->value[0] / f->step + f->zero) <= f->line_error)
        first++;
    while (last > first && error_of(f, sample(f, last),
                                    f->slope[1] * sample(f, last) + f->value[1] / f->step + f->zero) <= f->line_error)
        last--;
    *ret_begin = sample(f, first > 0 ? first - 1 : 0);
    *ret_end = sample(f, last < N_SAMPLES ? last + 1 : last);
}

/*
 * The smallest segments of which 1 .. 14 cover [begin, end], segment s lying around (s - k) * size. As k is whole, 0 is
 * the middle of a segment, or would be.
 */
static double choose_size(double begin, double end, int *ret_k)
{
    double best = INFINITY;

    for (int k = -64; k <= 80; k++) {
        double from = 0.5 - k, to = 14.5 - k; /* in sizes */
        double least = 0, most = INFINITY;

        if (from < 0)
            least = fmax(least, begin / from);
        else
            most = fmin(most, begin / from);
        if (to > 0)
            least = fmax(least, end / to);
        else
            most = fmin(most, end / to);
        if (least > 0 && least <= most && least < best) {
            best = least;
            *ret_k = k;
        }
    }
    return best;
}

/* Through the four Chebyshev points of a segment: Newton's divided differences, then powers of t. */
static void fit_segment(const struct target *f, double middle, double half, double ret[4])
{
    double t[4], d[4];

    for (int i = 0; i < 4; i++) {
        t[i] = middle + half * cos((2 * i + 1) * 3.14159265358979323846 / 8);
        d[i] = exact(f, t[i]);
    }
    for (int order = 1; order < 4; order++)
        for (int i = 3; i >= order; i--)
            d[i] = (d[i] - d[i - 1]) / (t[i] - t[i - order]);
    ret[0] = d[3];
    ret[1] = ret[2] = ret[3] = 0;
    for (int i = 2; i >= 0; i--) {
        for (int power = 3; power > 0; power--)
            ret[power] = ret[power - 1] - t[i] * ret[power];
        ret[0] = d[i] - t[i] * ret[0];
    }
}

static double measure(const struct target *f, const struct qd_piecewise *p, double begin, double end)
{
    double largest = 0;

    for (int i = 0; i <= N_SAMPLES; i++) {
        /* The whole far range, and the segments again, finely. */
        float near = (float)(begin + (end - begin) * i / N_SAMPLES), far = (float)sample(f, i);

        largest = fmax(largest, error_of(f, (double)near, (double)qd_piecewise_at(p, near)));
        largest = fmax(largest, error_of(f, (double)far, (double)qd_piecewise_at(p, far)));
    }
    return largest;
}

/* One try; its error, or infinity where no segments will do. */
static double fit(const struct target *f, struct qd_piecewise *ret)
{
    double begin, end, size;
    int k = 0;

    find_inside(f, &begin, &end);
    size = choose_size(begin, end, &k);
    if (!isfinite(size) || !(size > 0))
        return INFINITY;
    ret->scale = (float)(1 / size);
    ret->first = QD_PIECEWISE_FIRST + (float)k;
    for (int s = 0; s < 16; s++) {
        double c[4] = {0};

        if (s == 0 || s == 15) {
            c[0] = f->value[s == 15] / f->step + f->zero;
            c[1] = f->slope[s == 15];
        } else {
            fit_segment(f, (s - k) * size, size / 2, c);
        }
        for (int power = 0; power < 4; power++)
            ret->c[power][s] = (float)c[power];
    }
    return measure(f, ret, begin, end);
}

/*
 * A function with a minimum that the bytes do not reach: with steps as fine as those, cubics all the way to where it is
 * a line again would not be good enough. What calibration saw then lies right of the minimum, so inputs further left
 * than the lowest byte's are clipped to that one's, as inputs too large for the highest byte are.
 */
static bool clip_input(struct target *f, double lowest)
{
    double wanted = (f->low - f->zero) * f->step, left = lowest, right = 0;

    if (!isfinite(lowest) || wanted > 0 || qd_activation_f64(f->act, lowest) >= wanted)
        return false;
    for (int i = 0; i < 60; i++) {
        double middle = (left + right) / 2;

        if (qd_activation_f64(f->act, middle) < wanted)
            left = middle;
        else
            right = middle;
    }
    f->least_x = right;
    f->slope[0] = 0;
    f->value[0] = wanted;
    return true;
}

enum qd_status qd_piecewise_fit(const struct qd_activation *act, double step, double zero, double low, double high,
                                double limit, struct qd_piecewise *ret, struct qd_error *err)
{
    int row = find_ends(act->kind);
    struct target f = {.act = act,
                       .step = step,
                       .zero = zero,
                       .low = low,
                       .high = high,
                       .line_error = limit / 4,
                       .least_x = -INFINITY};
    double error;

    for (int i = 0; i < 2; i++) {
        f.slope[i] = ends[row].slope[i];
        f.value[i] = ends[row].value[i];
    }
    error = fit(&f, ret);
    if (!(error <= limit) && clip_input(&f, ends[row].lowest))
        error = fit(&f, ret);
    if (!(error <= limit))
        return qd_error_set(err, QD_UNSUPPORTED, "%s: off by %.3f output steps, at most %.3f wanted",
                            qd_activation_name(act), error, limit);
    return QD_OK;
}

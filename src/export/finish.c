#include <math.h>

#include "export/internal.h"
#include "op/piecewise.h"
#include "op/q8.h"

#define N_SAMPLES 8192
/* Where a curve counts as level, in steps of the output. */
#define LEVEL (1.0 / 64)

/* What is wanted of an activation at x: steps of the output, between the ends of its bytes. */
static double wanted(const struct qd_activation *act, const struct qd_integer_finish *f, double step, double x)
{
    double y = qd_activation_f64(act, x) / step;

    return fmin(fmax(y, f->clamp_min - f->zero_point), f->clamp_max - f->zero_point);
}

/* A curve over all x where the activation's byte changes, at both ends going on level. */
static enum qd_status make_curve(const struct qd_integer_build *build, const struct qd_activation *act, double step,
                                 struct qd_integer_finish *ret, struct qd_error *err)
{
    double far = fmax(40, 300 * step), unit = step / (1 << QD_INTEGER_T_BITS), low = -far, high = far;
    int i = 0;

    while (i < N_SAMPLES &&
           fabs(wanted(act, ret, step, -far + 2 * far * i / N_SAMPLES) - wanted(act, ret, step, -far)) <= LEVEL)
        low = -far + 2 * far * i++ / N_SAMPLES;
    i = N_SAMPLES;
    while (i > 0 && fabs(wanted(act, ret, step, -far + 2 * far * i / N_SAMPLES) - wanted(act, ret, step, far)) <= LEVEL)
        high = -far + 2 * far * i-- / N_SAMPLES;
    if (high <= low)
        high = low + step;
    while (ldexp(QD_INTEGER_CURVE_SEGMENTS, ret->segment_bits) * unit < high - low)
        ret->segment_bits++;
    if (low / unit < -0x1p30 || ldexp(QD_INTEGER_CURVE_SEGMENTS, ret->segment_bits) > 0x1p30)
        return qd_error_set(err, QD_UNSUPPORTED, "%s: its output's step %g is too fine for a curve",
                            qd_activation_name(act), step);
    ret->first = (int32_t)floor(low / unit);
    ret->form = QD_INTEGER_CURVE;
    ret->curve = qd_arena_array(build->arena, QD_INTEGER_CURVE_SEGMENTS + 1, sizeof(int32_t));
    if (!ret->curve)
        return qd_integer_no_memory(err);
    for (i = 0; i <= QD_INTEGER_CURVE_SEGMENTS; i++) {
        double t = ret->first + ldexp(i, ret->segment_bits);

        ret->curve[i] = (int32_t)rint(ldexp(qd_activation_f64(act, t * unit) / step, QD_INTEGER_CURVE_BITS));
    }
    return QD_OK;
}

enum qd_status qd_integer_finish_make(const struct qd_integer_build *build, const struct qd_node *node, int n,
                                      struct qd_integer_finish *ret, struct qd_error *err)
{
    const struct qd_activation *act = &node->act;
    const float *steps = build->graph->values[node->outputs[0]].channel_steps;
    struct qd_qparams out = qd_q8_of(build->graph, node->outputs[0]);
    struct qd_fixed *slope;
    uint8_t low, high;

    qd_q8_clamp(act, out, &low, &high);
    *ret = (struct qd_integer_finish){.zero_point = out.zero_point, .clamp_min = low, .clamp_max = high};
    if (steps && act->kind != QD_ACT_NONE) { /* the bytes of a clip do what it does, or the plan had refused it */
        ret->clamp_min = 0;
        ret->clamp_max = qd_q8_max(out);
    }
    if (qd_piecewise_fits(act->kind) && steps)
        return qd_error_set(err, QD_UNSUPPORTED,
                            "%s with a step per channel has no integer form: calibrate with profile accelerator",
                            qd_activation_name(act));
    if (qd_piecewise_fits(act->kind))
        return make_curve(build, act, (double)out.scale, ret, err);
    if (act->kind != QD_ACT_LEAKY && act->kind != QD_ACT_HARDSWISH)
        return QD_OK;
    ret->form = act->kind == QD_ACT_LEAKY ? QD_INTEGER_LEAKY : QD_INTEGER_HARDSWISH;
    ret->slope = slope = qd_arena_array(build->arena, (size_t)n, sizeof(*slope));
    if (!slope)
        return qd_integer_no_memory(err);
    for (int c = 0; c < n; c++)
        slope[c] = qd_fixed_of(act->kind == QD_ACT_LEAKY ? (double)act->alpha
                                                         : (double)out.scale * (steps ? (double)steps[c] : 1) / 6,
                               QD_INTEGER_SLOPE_BITS);
    return QD_OK;
}

static int64_t hard_swish(int64_t t, struct qd_fixed slope, int zero)
{
    int64_t one = 1 << QD_INTEGER_GATE_BITS;
    int64_t gate = qd_round_shift(t * slope.m, slope.shift + QD_INTEGER_T_BITS - QD_INTEGER_GATE_BITS, 0) + one / 2;

    gate = gate < 0 ? 0 : gate > one ? one : gate;
    return qd_round_shift(t * gate, QD_INTEGER_T_BITS + QD_INTEGER_GATE_BITS, zero);
}

static int64_t curve(const struct qd_integer_finish *f, int64_t t)
{
    int64_t size = (int64_t)1 << f->segment_bits, u = t - f->first, end = QD_INTEGER_CURVE_SEGMENTS * size, i, rest;

    u = u < 0 ? 0 : u > end ? end : u;
    i = u >> f->segment_bits;
    i = i < QD_INTEGER_CURVE_SEGMENTS ? i : QD_INTEGER_CURVE_SEGMENTS - 1;
    rest = u - i * size;
    return qd_round_shift(f->curve[i] * (size - rest) + f->curve[i + 1] * rest, f->segment_bits + QD_INTEGER_CURVE_BITS,
                          f->zero_point);
}

uint8_t qd_integer_finish_byte(const struct qd_integer_finish *f, int64_t p, int shift, int c)
{
    struct qd_fixed slope;
    int64_t t = 0, y;

    if (f->form != QD_INTEGER_CLAMP) {
        t = qd_round_shift(p, shift - QD_INTEGER_T_BITS, 0);
        t = t < INT32_MIN ? INT32_MIN : t > INT32_MAX ? INT32_MAX : t;
    }
    switch (f->form) {
    case QD_INTEGER_LEAKY:
        slope = t < 0 ? f->slope[0] : (struct qd_fixed){1, 0};
        y = qd_round_shift(t * slope.m, slope.shift + QD_INTEGER_T_BITS, f->zero_point);
        break;
    case QD_INTEGER_HARDSWISH:
        y = hard_swish(t, f->slope[c], f->zero_point);
        break;
    case QD_INTEGER_CURVE:
        y = curve(f, t);
        break;
    default:
        y = qd_round_shift(p, shift, f->zero_point);
    }
    return (uint8_t)(y < f->clamp_min ? f->clamp_min : y > f->clamp_max ? f->clamp_max : y);
}

bool qd_integer_finish_describe(const struct qd_integer_finish *f, int n, json_t *json)
{
    json_t *act;
    int64_t values[QD_INTEGER_CURVE_SEGMENTS + 1];

    switch (f->form) {
    case QD_INTEGER_LEAKY:
        act = json_pack("{s:s, s:i, s:i}", "form", "leaky", "multiplier", f->slope[0].m, "shift", f->slope[0].shift);
        break;
    case QD_INTEGER_HARDSWISH:
        act = json_pack("{s:s, s:o, s:o}", "form", "hardswish", "multiplier", qd_integer_multipliers(f->slope, n),
                        "shift", qd_integer_shifts(f->slope, n));
        break;
    case QD_INTEGER_CURVE:
        for (int i = 0; i <= QD_INTEGER_CURVE_SEGMENTS; i++)
            values[i] = f->curve[i];
        act = json_pack("{s:s, s:i, s:i, s:o}", "form", "curve", "first", f->first, "segment_bits", f->segment_bits,
                        "values", qd_integer_ints(values, QD_INTEGER_CURVE_SEGMENTS + 1));
        break;
    default:
        act = json_pack("{s:s}", "form", "clamp");
    }
    return json_object_set_new(json, "activation", act) == 0 &&
           json_object_set_new(json, "output_zero_point", json_integer(f->zero_point)) == 0 &&
           json_object_set_new(json, "clamp", json_pack("[i, i]", f->clamp_min, f->clamp_max)) == 0;
}

static double magnitude(double a_max, struct qd_fixed f, int shift)
{
    return ldexp(a_max * fabs((double)f.m), shift - f.shift);
}

bool qd_integer_sum_fits(double a_max, struct qd_fixed fa, double b_max, struct qd_fixed fb)
{
    int shift = fa.shift > fb.shift ? fa.shift : fb.shift;

    return magnitude(a_max, fa, shift) + magnitude(b_max, fb, shift) < 0x1p62;
}

int64_t qd_integer_sum(int64_t a, struct qd_fixed fa, int64_t b, struct qd_fixed fb, int *ret_shift)
{
    int shift = fa.shift > fb.shift ? fa.shift : fb.shift;

    *ret_shift = shift;
    return a * fa.m * ((int64_t)1 << (shift - fa.shift)) + b * fb.m * ((int64_t)1 << (shift - fb.shift));
}

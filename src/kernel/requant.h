/*
 * The one requantisation formula, in scalar form: every tier returns these bytes.
 *
 *   t = fma(acc, mult[c], offset[c])            acc converted to float, rounding to nearest even
 *   t = fma(residual, residual_mult, t)         with a residual
 *   t = act(t) + zero                           LEAKY and HARDSWISH: see enum qd_requant_act
 *   t = act(t)                                  PIECEWISE: see struct qd_piecewise; the zero point is in its cubics
 *   t = fma(act(t), slope[c], zero)             PIECEWISE_STEPS: where the output has a step per channel
 *   byte = nearest_even(min(max(t, clamp_min), clamp_max))
 *
 * The clamp is made in float, before the conversion: both bounds are whole numbers, so it gives what a clamp after
 * rounding would give, and no value of t overflows the conversion. NaN gives clamp_min. A tier may clamp from below
 * after the conversion instead: what cannot be converted becomes the most negative int, hence clamp_min too.
 * Each fma rounds once; nothing else may be contracted, so everything is built with -ffp-contract=off. The rounding
 * mode is the default one, nearest even, in every thread.
 */
#ifndef QD_KERNEL_REQUANT_H
#define QD_KERNEL_REQUANT_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernel/kernel.h"

static inline uint8_t qd_clamp_round(float t, uint8_t clamp_min, uint8_t clamp_max)
{
    float low = clamp_min, high = clamp_max;

    t = t > low ? t : low;
    t = t < high ? t : high;
    return (uint8_t)lrintf(t);
}

static inline float qd_piecewise_at(const struct qd_piecewise *p, float t)
{
    float u = fmaf(t, p->scale, p->first);
    uint32_t s;

    u = u > QD_PIECEWISE_FIRST ? u : QD_PIECEWISE_FIRST;
    u = u < QD_PIECEWISE_FIRST + 15 ? u : QD_PIECEWISE_FIRST + 15;
    memcpy(&s, &u, sizeof(s));
    s &= 15;
    return fmaf(fmaf(fmaf(p->c[3][s], t, p->c[2][s]), t, p->c[1][s]), t, p->c[0][s]);
}

static inline float qd_requant_act(const struct qd_requant *requant, float t, int c)
{
    float gate;

    switch (requant->act) {
    case QD_REQUANT_LEAKY:
        return (t < 0 ? t * requant->slope[c] : t) + requant->zero;
    case QD_REQUANT_HARDSWISH:
        gate = fmaf(t, requant->slope[c], 0.5f);
        gate = gate > 0 ? gate : 0;
        gate = gate < 1 ? gate : 1;
        return t * gate + requant->zero;
    case QD_REQUANT_PIECEWISE:
        return qd_piecewise_at(requant->piecewise, t);
    case QD_REQUANT_PIECEWISE_STEPS:
        return fmaf(qd_piecewise_at(requant->piecewise, t), requant->slope[c], requant->zero);
    default:
        return t;
    }
}

/* residual: the residual's byte, or NULL. */
static inline uint8_t qd_requant_byte(const struct qd_requant *requant, int32_t acc, int c, const uint8_t *residual)
{
    float t = fmaf((float)acc, requant->mult[c], requant->offset[c]);

    if (residual)
        t = fmaf(*residual, requant->residual_mult, t);
    return qd_clamp_round(qd_requant_act(requant, t, c), requant->clamp_min, requant->clamp_max);
}

#endif

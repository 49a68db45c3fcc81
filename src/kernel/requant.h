/*
 * The one requantisation formula, for the scalar tier and as the definition of all others:
 *
 *   t = fma(float(acc), mult, offset)            with a residual r: t = fma(float(r), residual_mult, t)
 *   LINEAR     u = t
 *   LEAKY      u = (t < 0 ? t * slope : t) + zero
 *   HARDSWISH  u = t * min(max(fma(t, slope, 0.5), 0), 1) + zero
 *   byte = min(max(nearest_even(u), clamp_min), clamp_max)
 *
 * Every operation is IEEE single precision, in this order, none contracted: each tier gives the same bytes.
 */
#ifndef QD_KERNEL_REQUANT_H
#define QD_KERNEL_REQUANT_H

#include <math.h>

#include "kernel/kernel.h"

static inline uint8_t qd_requant_round(float u, int clamp_min, int clamp_max)
{
    long steps = lrintf(u);

    return (uint8_t)(steps < clamp_min ? clamp_min : steps > clamp_max ? clamp_max : steps);
}

static inline uint8_t qd_requant_one(const struct qd_requant *q, int c, int32_t acc, const uint8_t *residual)
{
    float t = fmaf((float)acc, q->mult[c], q->offset[c]);

    if (residual)
        t = fmaf((float)*residual, q->residual_mult, t);
    if (q->act == QD_REQUANT_LEAKY)
        t = (t < 0 ? t * q->slope : t) + q->zero;
    else if (q->act == QD_REQUANT_HARDSWISH)
        t = t * fminf(fmaxf(fmaf(t, q->slope, 0.5f), 0.0f), 1.0f) + q->zero;
    return qd_requant_round(t, q->clamp_min, q->clamp_max);
}

#endif

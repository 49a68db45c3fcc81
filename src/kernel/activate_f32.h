/*
 * The activations, for the vectors of the including file (vector_*.h): the one formula of each. Static inline only.
 *
 * exp and erf are ours: the C library's choose their code by CPU, and may differ in the last bit. Within 2 units in the
 * last place of the real functions.
 */
#ifndef QD_KERNEL_ACTIVATE_F32_H
#define QD_KERNEL_ACTIVATE_F32_H

#include "kernel/tiers.h"

/* c[0] * x^(n-1) + c[1] * x^(n-2) ... */
static inline __attribute__((always_inline)) VECTOR polynomial(VECTOR x, const float *c, int n)
{
    VECTOR sum = vector_all(c[0]);

    for (int i = 1; i < n; i++)
        sum = vector_fma(sum, x, vector_all(c[i]));
    return sum;
}

/* exp of x in [-87, 87], of the nearer end outside; after Moshier's Cephes (expf.c). NaN stays. */
static inline VECTOR exponential(VECTOR x)
{
    static const float c[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                              4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
    VECTOR n, r;

    x = vector_min(vector_all(87), vector_max(vector_all(-87), x));
    n = vector_round(vector_mul(x, vector_all(1.44269504088896341f)));
    r = vector_fma(n, vector_all(-0.693359375f), x);
    r = vector_fma(n, vector_all(2.12194440e-4f), r);
    return vector_mul(vector_add(vector_fma(vector_mul(r, r), polynomial(r, c, 6), r), vector_all(1)), vector_power(n));
}

/* x with the sign of s. */
static inline VECTOR with_sign(VECTOR x, VECTOR s)
{
    return vector_below(s, vector_all(0), vector_sub(vector_all(0), x), x);
}

/* After Moshier's Cephes (tanhf.c). */
static inline VECTOR hyperbolic_tangent(VECTOR x)
{
    static const float c[] = {-5.70498872745e-3f, 2.06390887954e-2f, -5.37397155531e-2f, 1.33314422036e-1f,
                              -3.33332819422e-1f};
    VECTOR a = vector_abs(x), square = vector_mul(x, x);
    VECTOR small = vector_fma(vector_mul(polynomial(square, c, 5), square), x, x);
    VECTOR large = vector_add(exponential(vector_add(a, a)), vector_all(1));

    large = with_sign(vector_sub(vector_all(1), vector_div(vector_all(2), large)), x);
    return vector_below(a, vector_all(0.625f), small, large);
}

/* Two minimax polynomials: x + x * p(x^2) near 0, 1 - exp(q(|x|)) past it. */
static inline VECTOR error_function(VECTOR x)
{
    static const float p[] = {-5.96761703e-4f, 4.99119423e-3f,  -2.67681349e-2f,
                              1.12819925e-1f,  -3.76125336e-1f, 1.28379166e-1f};
    static const float q[] = {-1.72853470e-5f, 3.83197126e-4f,  -3.88396438e-3f, 2.42546219e-2f,
                              -1.06777877e-1f, -6.34846687e-1f, -1.28717512e-1f};
    VECTOR a = vector_abs(x);
    VECTOR small = vector_fma(polynomial(vector_mul(x, x), p, 6), x, x);
    VECTOR large = vector_fma(polynomial(a, q, 7), a, vector_sub(vector_all(0), a));

    large = with_sign(vector_sub(vector_all(1), exponential(large)), x);
    return vector_below(a, vector_all(0.927734375f), small, large);
}

static inline VECTOR act_none(const struct qd_activation *act, VECTOR x)
{
    (void)act;
    return x;
}

static inline VECTOR act_clip(const struct qd_activation *act, VECTOR x)
{
    return vector_min(vector_all(act->max), vector_max(vector_all(act->min), x));
}

static inline VECTOR act_leaky(const struct qd_activation *act, VECTOR x)
{
    return vector_below(x, vector_all(0), vector_mul(x, vector_all(act->alpha)), x);
}

static inline VECTOR unit(VECTOR x)
{
    return vector_min(vector_all(1), vector_max(vector_all(0), x));
}

static inline VECTOR act_hard_sigmoid(const struct qd_activation *act, VECTOR x)
{
    return unit(vector_fma(vector_all(act->alpha), x, vector_all(act->beta)));
}

static inline VECTOR act_hard_swish(const struct qd_activation *act, VECTOR x)
{
    (void)act;
    return vector_mul(x, unit(vector_fma(x, vector_all(1.0f / 6), vector_all(0.5f))));
}

static inline VECTOR act_sigmoid(const struct qd_activation *act, VECTOR x)
{
    (void)act;
    return vector_div(vector_all(1), vector_add(vector_all(1), exponential(vector_sub(vector_all(0), x))));
}

static inline VECTOR act_tanh(const struct qd_activation *act, VECTOR x)
{
    (void)act;
    return hyperbolic_tangent(x);
}

static inline VECTOR act_silu(const struct qd_activation *act, VECTOR x)
{
    (void)act;
    return vector_div(x, vector_add(vector_all(1), exponential(vector_sub(vector_all(0), x))));
}

static inline VECTOR act_gelu(const struct qd_activation *act, VECTOR x)
{
    VECTOR half = vector_mul(vector_all(0.5f), x);

    (void)act;
    return vector_mul(half, vector_add(vector_all(1), error_function(vector_mul(x, vector_all(0.70710678f)))));
}

/* tanh(log(1 + e)) is (e^2 + 2 e) / (e^2 + 2 e + 2); past 20 it is 1. */
static inline VECTOR act_mish(const struct qd_activation *act, VECTOR x)
{
    VECTOR e = exponential(vector_min(vector_all(20), x)), square = vector_mul(e, vector_add(e, vector_all(2)));

    (void)act;
    return vector_mul(x, vector_div(square, vector_add(square, vector_all(2))));
}

/* A loop for each function. */
#define RUN_ACTIVATION(f)                                                                                              \
    for (; i + LANES <= n; i += LANES)                                                                                 \
        vector_store(                                                                                                  \
            x + i, f(act, residual ? vector_add(vector_load(x + i), vector_load(residual + i)) : vector_load(x + i))); \
    if (i < n) {                                                                                                       \
        VECTOR last = vector_load_first(x + i, (int)(n - i));                                                          \
                                                                                                                       \
        if (residual)                                                                                                  \
            last = vector_add(last, vector_load_first(residual + i, (int)(n - i)));                                    \
        vector_store_first(x + i, f(act, last), (int)(n - i));                                                         \
    }                                                                                                                  \
    break

static inline void run_activate(const struct qd_activation *act, const float *residual, float *x, size_t n)
{
    size_t i = 0;

    switch (act->kind) {
    case QD_ACT_NONE:
        RUN_ACTIVATION(act_none);
    case QD_ACT_CLIP:
        RUN_ACTIVATION(act_clip);
    case QD_ACT_LEAKY:
        RUN_ACTIVATION(act_leaky);
    case QD_ACT_HARDSWISH:
        RUN_ACTIVATION(act_hard_swish);
    case QD_ACT_HARDSIGMOID:
        RUN_ACTIVATION(act_hard_sigmoid);
    case QD_ACT_SIGMOID:
        RUN_ACTIVATION(act_sigmoid);
    case QD_ACT_TANH:
        RUN_ACTIVATION(act_tanh);
    case QD_ACT_SILU:
        RUN_ACTIVATION(act_silu);
    case QD_ACT_GELU:
        RUN_ACTIVATION(act_gelu);
    case QD_ACT_MISH:
        RUN_ACTIVATION(act_mish);
    }
}

#endif

/* Activations: the functions that a node can apply to its result, in float as they are defined and in double. */
#include <math.h>

#include "graph/graph.h"

static float clip(const struct qd_activation *act, float x)
{
    float v = x < act->min ? act->min : x;

    return v > act->max ? act->max : v;
}

static float leaky(const struct qd_activation *act, float x)
{
    return x < 0 ? x * act->alpha : x;
}

static float hard_sigmoid(const struct qd_activation *act, float x)
{
    float v = act->alpha * x + act->beta;

    return v < 0 ? 0 : v > 1 ? 1 : v;
}

static float hard_swish(const struct qd_activation *act, float x)
{
    float gate = x * (1.0f / 6) + 0.5f;

    (void)act;
    return x * (gate < 0 ? 0 : gate > 1 ? 1 : gate);
}

static float sigmoid(const struct qd_activation *act, float x)
{
    (void)act;
    return 1.0f / (1.0f + expf(-x));
}

static float hyperbolic_tangent(const struct qd_activation *act, float x)
{
    (void)act;
    return tanhf(x);
}

static float silu(const struct qd_activation *act, float x)
{
    return x * sigmoid(act, x);
}

static float gelu(const struct qd_activation *act, float x)
{
    (void)act;
    return 0.5f * x * (1.0f + erff(x * 0.70710678f));
}

/* tanh(log(1 + e)) is (e^2 + 2 e) / (e^2 + 2 e + 2); past 20 it is 1. */
static float mish(const struct qd_activation *act, float x)
{
    float e = expf(x < 20 ? x : 20), square = e * (e + 2);

    (void)act;
    return x * (square / (square + 2));
}

/* A loop for each function, so that the cheap ones become vectors. */
#define RUN(f)                                                                                                         \
    for (int64_t i = 0; i < n; i++)                                                                                    \
        x[i] = f(act, x[i]);                                                                                           \
    break

void qd_activation_run_f32(const struct qd_activation *act, float *x, int64_t n)
{
    switch (act->kind) {
    case QD_ACT_NONE:
        break;
    case QD_ACT_CLIP:
        RUN(clip);
    case QD_ACT_LEAKY:
        RUN(leaky);
    case QD_ACT_HARDSWISH:
        RUN(hard_swish);
    case QD_ACT_HARDSIGMOID:
        RUN(hard_sigmoid);
    case QD_ACT_SIGMOID:
        RUN(sigmoid);
    case QD_ACT_TANH:
        RUN(hyperbolic_tangent);
    case QD_ACT_SILU:
        RUN(silu);
    case QD_ACT_GELU:
        RUN(gelu);
    case QD_ACT_MISH:
        RUN(mish);
    }
}

double qd_activation_f64(const struct qd_activation *act, double x)
{
    switch (act->kind) {
    case QD_ACT_NONE:
        return x;
    case QD_ACT_CLIP:
        return fmin(fmax(x, (double)act->min), (double)act->max);
    case QD_ACT_LEAKY:
        return x < 0 ? x * (double)act->alpha : x;
    case QD_ACT_HARDSWISH:
        return x * fmin(fmax(x / 6 + 0.5, 0), 1);
    case QD_ACT_HARDSIGMOID:
        return fmin(fmax((double)act->alpha * x + (double)act->beta, 0), 1);
    case QD_ACT_SIGMOID:
        return 1 / (1 + exp(-x));
    case QD_ACT_TANH:
        return tanh(x);
    case QD_ACT_SILU:
        return x / (1 + exp(-x));
    case QD_ACT_GELU:
        return 0.5 * x * erfc(-x * 0.70710678118654752440);
    case QD_ACT_MISH:
        return x > 40 ? x : x * tanh(log1p(exp(x)));
    }
    return x;
}

const char *qd_activation_name(const struct qd_activation *act)
{
    static const char *const names[] = {"",        "clip", "leaky", "hardswish", "hardsigmoid",
                                        "sigmoid", "tanh", "silu",  "gelu",      "mish"};

    return names[act->kind];
}

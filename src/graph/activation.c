/* Activations in double, and their names. */
#include <math.h>

#include "graph/graph.h"

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

#include "quant/method.h"

/* The whole range, 0 included: nothing is clipped. */
static struct qd_qparams choose(const struct qd_distribution *d, int bits)
{
    return qd_qparams_of_range(d->min, d->max, bits);
}

const struct qd_method qd_method_minmax = {"minmax", 1, choose, false};

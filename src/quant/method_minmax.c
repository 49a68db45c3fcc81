#include <math.h>

#include "quant/method.h"

/* The whole range, 0 included: nothing is clipped. */
static struct qd_qparams choose(const struct qd_distribution *d, int bits)
{
    int max = (1 << bits) - 1;
    struct qd_qparams q = {.scale = (d->max - d->min) / (float)max, .bits = bits};

    if (!(q.scale > 0x1p-100f))
        q.scale = 1;
    q.zero_point = (int)fmin(fmax(rint(-(double)d->min / (double)q.scale), 0), max);
    return q;
}

const struct qd_method qd_method_minmax = {"minmax", 1, choose};

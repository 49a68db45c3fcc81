#include <math.h>

#include "quant/method.h"

/* The range times a share in hundredths, both ends alike: the share of least squared error. */
static struct qd_qparams choose(const struct qd_distribution *d, int bits)
{
    struct qd_qparams best = {0};
    double least = INFINITY;

    for (int share = 100; share >= 5; share--) {
        struct qd_qparams q = qd_qparams_of_range(d->min * (float)share / 100, d->max * (float)share / 100, bits);
        double error = qd_distribution_error(d, q);

        if (error < least) {
            least = error;
            best = q;
        }
    }
    return best;
}

const struct qd_method qd_method_mse = {"mse", 1, choose, false};

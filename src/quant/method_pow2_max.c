/*
 * The conventional accelerator: the range ends at the next power of two at or above the largest magnitude, so the step
 * is a power of two and a shift requantizes. Zero point 0, or 2^(bits - 1) where something is negative. As the
 * threshold of TQT (Jain et al., MLSys 2020) before its training; what lies above the highest level loses less than a
 * step more.
 */
#include <math.h>

#include "quant/method.h"

static struct qd_qparams choose(const struct qd_distribution *d, int bits)
{
    double largest = fmax(-(double)d->min, (double)d->max);
    int is_signed = d->min < 0, exponent;

    if (!(largest > 0x1p-90))
        return qd_qparams_of_range(0, 0, bits);
    exponent = (int)ceil(log2(largest)) - (bits - is_signed);
    return (struct qd_qparams){(float)ldexp(1, exponent), is_signed << (bits - 1), bits};
}

const struct qd_method qd_method_pow2_max = {"pow2-max", 1, choose, false};

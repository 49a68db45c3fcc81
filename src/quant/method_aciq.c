/*
 * ACIQ (Banner, Nahshan, Soudry, "Post training 4-bit quantization of convolutional networks for rapid-deployment",
 * NeurIPS 2019): the clip that minimises the expected squared error, rounding plus clipping, of a Gauss or a Laplace
 * distribution with the tensor's moments; for a tensor that is never negative, of a half-normal or an exponential one.
 * Symmetric, moments around 0. Zeros do not count: they are exact at every clip. Of the two families the better fit is
 * taken; here that is the one of greater likelihood, which depends on E|x| / sqrt(E x^2) alone.
 */
#include <math.h>

#include "quant/method.h"

#define STEPS 50

/* 4^-bits / 3: the rounding error of 2^bits levels over [-clip, clip] is this times clip^2. */
static double rounding(int bits)
{
    return ldexp(1, -2 * bits) / 3;
}

/*
 * E = rounding a^2 + (1 + a^2) erfc(a / sqrt 2) - a sqrt(2 / pi) exp(-a^2 / 2); E' / 2 = 0 by bisection:
 * E' / 2 = a (rounding + erfc(a / sqrt 2)) - sqrt(2 / pi) exp(-a^2 / 2).
 */
double qd_aciq_gauss(int bits)
{
    double low = 0.1, high = 16;

    for (int i = 0; i < STEPS; i++) {
        double a = (low + high) / 2;

        if (a * (rounding(bits) + erfc(a * M_SQRT1_2)) < M_2_SQRTPI * M_SQRT1_2 * exp(-a * a / 2))
            low = a;
        else
            high = a;
    }
    return (low + high) / 2;
}

/* E = rounding a^2 + 2 exp(-a); E' = 0 where a exp(a) = 1 / rounding: Lambert's W, by Newton on a + log a. */
double qd_aciq_laplace(int bits)
{
    double wanted = -log(rounding(bits)), a = wanted;

    for (int i = 0; i < STEPS; i++)
        a -= (a + log(a) - wanted) / (1 + 1 / a);
    return a;
}

static struct qd_qparams choose(const struct qd_distribution *d, int bits)
{
    double n = 0, sum = 0, squares = 0, b, sigma, clip;
    int table_bits = d->min < 0 ? bits : bits + 1;

    for (int t = 0; t < d->n_tensors; t++) {
        for (size_t i = 0; i < d->n_bins[t]; i++) {
            n += d->bins[t][i].n;
            sum += fabs(d->bins[t][i].sum);
            squares += d->bins[t][i].squares;
        }
    }
    if (!(n > 0))
        return qd_qparams_of_range(0, 0, bits);
    b = sum / n;
    sigma = sqrt(squares / n);
    /* The mean log likelihoods, up to what both have: -log(2 b) - 1 and -log(sigma sqrt(2 pi)) - 1/2. */
    clip = log(2 * b) + 1 < log(sigma * sqrt(2 * M_PI)) + 0.5 ? b * qd_aciq_laplace(table_bits)
                                                              : sigma * qd_aciq_gauss(table_bits);
    return qd_qparams_of_clip(d, clip, bits);
}

const struct qd_method qd_method_aciq = {"aciq", 1, choose, false};

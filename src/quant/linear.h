/*
 * The linear algebra of weight rounding: second moments, their Cholesky factor, and rounding a row of weights to least
 * error of its output. Sums run in a fixed order, so the results are the same bytes everywhere. One thread at a time.
 */
#ifndef QD_QUANT_LINEAR_H
#define QD_QUANT_LINEAR_H

#include <stdbool.h>
#include <stdint.h>

/* Adds x x^T of n rows of k floats to the lower triangle of moments, [k][k]. */
void qd_moments_add(float *moments, const float *x, int n, int k);

/*
 * The lower Cholesky factor in place of the lower triangle of a, [k][k]. False: a is not positive definite; it is then
 * partly overwritten.
 */
bool qd_cholesky(float *a, int k);

/*
 * Rounds a row to q * scale, q in -limit .. limit, so that |L^T (w - q * scale)|^2 is small: from the last weight to
 * the first, each taking up what those before it missed (Babai's nearest plane; the order and the result of OBQ and
 * GPTQ, Frantar et al. 2022, without an inverse). work: k floats. Returns that squared error.
 */
double qd_round_row(const float *factor, const float *w, int k, float scale, int limit, int8_t *q, float *work);

/*
 * Coordinate and pair descent from the q given, on (w - q * scale)^T a (w - q * scale), a symmetric [k][k], k at most
 * QD_MAX_DESCENT. Returns the error that is left.
 */
#define QD_MAX_DESCENT 49
double qd_round_descent(const float *a, const float *w, int k, float scale, int limit, int8_t *q);

#endif

/*
 * Numbers of integer hardware: a multiplier and a right shift, and the one rounding. docs/accelerator-export.md says
 * the same for those who check hardware against it.
 */
#ifndef QD_EXPORT_FIXED_H
#define QD_EXPORT_FIXED_H

#include <math.h>
#include <stdint.h>

/* Exactly m * 2^-shift; shift is 0 .. QD_FIXED_MAX_SHIFT. */
struct qd_fixed {
    int32_t m;
    int shift;
};
#define QD_FIXED_MAX_SHIFT 62

/* The nearest with that many significant bits (24: a float's); 0 where it is below 2^-38. |value| below 2^30. */
static inline struct qd_fixed qd_fixed_of(double value, int bits)
{
    struct qd_fixed fixed = {0, 0};
    int exponent;
    double fraction = frexp(value, &exponent);

    if (exponent < -38 || value == 0)
        return fixed;
    fixed.m = (int32_t)rint(ldexp(fraction, bits));
    fixed.shift = bits - exponent;
    for (; fixed.shift < 0; fixed.shift++)
        fixed.m *= 2;
    return fixed;
}

static inline double qd_fixed_value(struct qd_fixed fixed)
{
    return ldexp((double)fixed.m, -fixed.shift);
}

/*
 * p * 2^-shift + zero, rounded to the nearest integer, halves to the even one; zero counts for that. A negative shift
 * is one to the left.
 */
static inline int64_t qd_round_shift(int64_t p, int shift, int zero)
{
    int64_t floor, rest, half;

    if (shift <= 0)
        return p * ((int64_t)1 << -shift) + zero;
    floor = p >> shift;
    rest = p - floor * ((int64_t)1 << shift);
    half = (int64_t)1 << (shift - 1);
    floor += zero;
    return floor + (rest > half || (rest == half && (floor & 1)));
}

#endif

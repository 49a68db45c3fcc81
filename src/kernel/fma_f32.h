/* fmaf for CPUs of any age. Static inline only. */
#ifndef QD_KERNEL_FMA_F32_H
#define QD_KERNEL_FMA_F32_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/*
 * fmaf: the compiler's own where it is one instruction. Else the product is exact in double, and the sum, rounded to
 * double, rounds to the right float unless it lies just between two floats or where floats are subnormal; then, once in
 * a great many, the C library is asked.
 */
static inline float qd_fma_f32(float a, float b, float c)
{
#ifdef FP_FAST_FMAF
    return fmaf(a, b, c);
#else
    double sum = (double)a * (double)b + (double)c;
    uint64_t bits;

    memcpy(&bits, &sum, sizeof(bits));
    if ((bits & 0x1fffffff) != 0x10000000 && (fabs(sum) >= 0x1p-126 || sum == 0))
        return (float)sum;
    return fmaf(a, b, c);
#endif
}

#endif

/* One float, under the names that float kernels are written in. Static inline only. */
#ifndef QD_KERNEL_VECTOR_SCALAR_H
#define QD_KERNEL_VECTOR_SCALAR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernel/fma_f32.h"

#define VECTOR float
#define LANES 1

static inline float vector_load(const float *p)
{
    return *p;
}

static inline void vector_store(float *p, float v)
{
    *p = v;
}

static inline float vector_load_first(const float *p, int n)
{
    (void)n;
    return *p;
}

static inline void vector_store_first(float *p, float v, int n)
{
    (void)n;
    *p = v;
}

static inline float vector_all(float x)
{
    return x;
}

static inline float vector_fma(float a, float b, float c)
{
    return qd_fma_f32(a, b, c);
}

static inline float vector_add(float a, float b)
{
    return a + b;
}

static inline float vector_sub(float a, float b)
{
    return a - b;
}

static inline float vector_mul(float a, float b)
{
    return a * b;
}

static inline float vector_div(float a, float b)
{
    return a / b;
}

/* a > b ? a : b and a < b ? a : b; b where either is NaN. */
static inline float vector_max(float a, float b)
{
    return a > b ? a : b;
}

static inline float vector_min(float a, float b)
{
    return a < b ? a : b;
}

/* x < y ? a : b */
static inline float vector_below(float x, float y, float a, float b)
{
    return x < y ? a : b;
}

static inline float vector_abs(float x)
{
    return fabsf(x);
}

/* To the nearest whole number, ties to the even one. */
static inline float vector_round(float x)
{
    return rintf(x);
}

/* 2^n, n whole, -126 .. 127; any number where n is NaN. */
static inline float vector_power(float n)
{
    uint32_t bits = n == n ? (uint32_t)((int32_t)n + 127) << 23 : 0;
    float power;

    memcpy(&power, &bits, sizeof(power));
    return power;
}

static inline float vector_load_between(const float *p, int begin, int end, float rest)
{
    return begin < end ? *p : rest;
}

static inline float vector_even(float a, float b)
{
    (void)b;
    return a;
}

static inline void vector_transpose(float rows[1])
{
    (void)rows;
}

#endif

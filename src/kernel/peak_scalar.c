#include "kernel/tiers.h"

#define N 1024

/* The compiler's own form of a sum of products, over what fits the first cache. */
int64_t qd_peak_scalar(int64_t iterations, int32_t *sink)
{
    uint8_t a[N];
    int8_t b[N];
    int32_t sum = 0;

    for (int i = 0; i < N; i++) {
        a[i] = (uint8_t)(i * 167 + 13);
        b[i] = (int8_t)(i * 59 % 255 - 127);
    }
    for (int64_t n = 0; n < iterations; n++) {
        a[n % N] ^= (uint8_t)sum;
        for (int i = 0; i < N; i++)
            sum += a[i] * b[i];
    }
    *sink = sum;
    return iterations * N;
}

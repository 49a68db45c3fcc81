#include "op/moments.h"

#include <math.h>

/* The sum of x - shift, or of its squares, as eight that take every eighth element: vectors of a fixed size. */
static double sum(const float *x, int64_t n, double shift, int squared)
{
    double sums[8] = {0};
    int64_t i = 0;

    for (; i + 8 <= n && squared; i += 8)
        for (int j = 0; j < 8; j++)
            sums[j] += ((double)x[i + j] - shift) * ((double)x[i + j] - shift);
    for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++)
            sums[j] += (double)x[i + j];
    for (; i < n; i++)
        sums[i % 8] += squared ? ((double)x[i] - shift) * ((double)x[i] - shift) : (double)x[i];
    return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

struct qd_moments qd_moments_of(const float *x, int64_t n, float epsilon)
{
    double mean = sum(x, n, 0, 0) / (double)n;

    return (struct qd_moments){mean, 1 / sqrt(sum(x, n, mean, 1) / (double)n + (double)epsilon)};
}

void qd_moments_apply(const struct qd_moments *moments, const float *x, float scale, float bias, float *y, int64_t n)
{
    double factor = moments->inverse * (double)scale;
    float mult = (float)factor, add = (float)((double)bias - moments->mean * factor);

    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] * mult + add;
}

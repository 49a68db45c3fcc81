#include "quant/linear.h"

#include <math.h>
#include <string.h>

#define LANES 16 /* partial sums of a dot product, which compilers make vectors of */

/* Four rows of x at a time: the triangle is read and written a quarter as often. */
void qd_moments_add(float *moments, const float *x, int n, int k)
{
    for (int i = 0; i < k; i++) {
        float *row = moments + (size_t)i * (size_t)k;

        for (int p = 0; p < n; p += 4) {
            const float *r[4];
            float f[4];

            for (int j = 0; j < 4; j++) {
                r[j] = x + (size_t)(p + j < n ? p + j : p) * (size_t)k;
                f[j] = p + j < n ? r[j][i] : 0;
            }
            if (f[0] == 0 && f[1] == 0 && f[2] == 0 && f[3] == 0)
                continue;
            for (int j = 0; j <= i; j++)
                row[j] += f[0] * r[0][j] + f[1] * r[1][j] + f[2] * r[2][j] + f[3] * r[3][j];
        }
    }
}

static float dot(const float *a, const float *b, int n)
{
    float lanes[LANES] = {0}, sum = 0;
    int i = 0;

    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lanes[j] += a[i + j] * b[i + j];
    for (; i < n; i++)
        lanes[0] += a[i] * b[i];
    for (int j = 0; j < LANES; j++)
        sum += lanes[j];
    return sum;
}

bool qd_cholesky(float *a, int k)
{
    for (int i = 0; i < k; i++) {
        float *row = a + (size_t)i * (size_t)k, rest;

        for (int j = 0; j < i; j++) {
            const float *other = a + (size_t)j * (size_t)k;

            row[j] = (row[j] - dot(row, other, j)) / other[j];
        }
        rest = row[i] - dot(row, row, i);
        if (!(rest > 0) || !isfinite(rest))
            return false;
        row[i] = sqrtf(rest);
    }
    return true;
}

static int nearest(float x, int limit)
{
    float q = rintf(x);

    return (int)(q < (float)-limit ? (float)-limit : q > (float)limit ? (float)limit : q);
}

double qd_round_row(const float *factor, const float *w, int k, float scale, int limit, int8_t *q, float *work)
{
    double error = 0;

    memset(work, 0, (size_t)k * sizeof(*work));
    for (int i = k - 1; i >= 0; i--) {
        const float *row = factor + (size_t)i * (size_t)k;
        float missed;

        q[i] = (int8_t)nearest((w[i] + work[i] / row[i]) / scale, limit);
        missed = w[i] - (float)q[i] * scale;
        error += pow((double)(row[i] * missed + work[i]), 2);
        for (int j = 0; j < i; j++)
            work[j] += row[j] * missed;
    }
    return error;
}

/* The error's change when q[i] moves by a steps and q[j] by b: from the gradient a e, e = w - q * scale. */
static double change(const float *a, const double *gradient, int k, int i, double di, int j, double dj)
{
    double c = -2 * di * gradient[i] + di * di * (double)a[i * k + i];

    if (dj != 0)
        c += -2 * dj * gradient[j] + dj * dj * (double)a[j * k + j] + 2 * di * dj * (double)a[i * k + j];
    return c;
}

struct move {
    int i, j, di, dj;
    double change;
};

static void try_move(const float *a, const double *gradient, int k, float scale, int limit, const int8_t *q,
                     struct move m, struct move *best)
{
    if (q[m.i] + m.di > limit || q[m.i] + m.di < -limit || q[m.j] + m.dj > limit || q[m.j] + m.dj < -limit)
        return;
    m.change = change(a, gradient, k, m.i, m.di * (double)scale, m.j, m.dj * (double)scale);
    if (m.change < best->change)
        *best = m;
}

double qd_round_descent(const float *a, const float *w, int k, float scale, int limit, int8_t *q)
{
    double gradient[QD_MAX_DESCENT], e[QD_MAX_DESCENT], error = 0, total = 0;

    for (int i = 0; i < k; i++) {
        e[i] = (double)w[i] - (double)q[i] * (double)scale;
        total += (double)a[i * k + i] * (double)scale * (double)scale;
    }
    /* Every move lowers the error by more than rounding noise, so it ends; the bound is for certainty. */
    for (int step = 0; step < 8 * k; step++) {
        struct move best = {.change = -1e-9 * total};
        bool found = false;

        error = 0;
        for (int i = 0; i < k; i++) {
            gradient[i] = 0;
            for (int j = 0; j < k; j++)
                gradient[i] += (double)a[i * k + j] * e[j];
            error += gradient[i] * e[i];
        }
        for (int i = 0; i < k; i++) {
            for (int di = -1; di <= 1; di += 2) {
                try_move(a, gradient, k, scale, limit, q, (struct move){i, i == 0 ? k - 1 : 0, di, 0, 0}, &best);
                for (int j = 0; j < i; j++)
                    for (int dj = -1; dj <= 1; dj += 2)
                        try_move(a, gradient, k, scale, limit, q, (struct move){i, j, di, dj, 0}, &best);
            }
        }
        found = best.di != 0;
        if (!found)
            break;
        q[best.i] = (int8_t)(q[best.i] + best.di);
        q[best.j] = (int8_t)(q[best.j] + best.dj);
        e[best.i] = (double)w[best.i] - (double)q[best.i] * (double)scale;
        e[best.j] = (double)w[best.j] - (double)q[best.j] * (double)scale;
    }
    return error;
}

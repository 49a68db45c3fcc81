/*
 * A fully connected layer for the vectors of the including file (vector_*.h): the weights pass by once, some rows
 * together. Static inline only.
 */
#ifndef QD_KERNEL_MATVEC_F32_H
#define QD_KERNEL_MATVEC_F32_H

#include "kernel/kernel_f32.h"
#include "kernel/tiers.h"

#define MATVEC_ROWS 4
#define CHAIN_VECTORS (QD_MATVEC_F32_CHAINS / LANES)

/* Elements [first, first + n) of the chains' vector j, as far as there are any; zeros past them. */
static inline VECTOR load_chains(const float *x, int left)
{
    return left >= LANES ? vector_load(x) : left > 0 ? vector_load_first(x, left) : vector_all(0);
}

static inline __attribute__((always_inline)) void run_matvec_rows(const struct qd_matvec_f32_params *p, int o, int rows)
{
    const float *weights = p->weights + (ptrdiff_t)o * p->k;
    VECTOR sum[MATVEC_ROWS][CHAIN_VECTORS];
    int k = 0;

    for (int i = 0; i < rows; i++)
        for (int j = 0; j < CHAIN_VECTORS; j++)
            sum[i][j] = vector_all(0);
    for (; k + QD_MATVEC_F32_CHAINS <= p->k; k += QD_MATVEC_F32_CHAINS)
        for (int j = 0; j < CHAIN_VECTORS; j++) {
            VECTOR x = vector_load(p->in + k + j * LANES);

            for (int i = 0; i < rows; i++)
                sum[i][j] = vector_fma(vector_load(weights + (ptrdiff_t)i * p->k + k + j * LANES), x, sum[i][j]);
        }
    for (int j = 0; j < CHAIN_VECTORS && k < p->k; j++) {
        int at = k + j * LANES, left = p->k - at;
        VECTOR x = load_chains(p->in + at, left);

        for (int i = 0; i < rows; i++)
            sum[i][j] = vector_fma(load_chains(weights + (ptrdiff_t)i * p->k + at, left), x, sum[i][j]);
    }
    for (int i = 0; i < rows; i++)
        p->out[o + i] = vector_sum_chains(sum[i]) + (p->bias ? p->bias[o + i] : 0);
}

static inline void run_matvec(const struct qd_matvec_f32_params *p)
{
    int o = 0;

    for (; o + MATVEC_ROWS <= p->n; o += MATVEC_ROWS)
        run_matvec_rows(p, o, MATVEC_ROWS);
    for (; o < p->n; o++)
        run_matvec_rows(p, o, 1);
}

#endif

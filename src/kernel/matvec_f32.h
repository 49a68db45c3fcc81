/*
 * A fully connected layer for the vectors of the including file (vector_*.h): the weights pass by once, row after
 * row: one stream, which CPUs read ahead best. Static inline only.
 */
#ifndef QD_KERNEL_MATVEC_F32_H
#define QD_KERNEL_MATVEC_F32_H

#include "kernel/kernel_f32.h"
#include "kernel/tiers.h"

#define CHAIN_VECTORS (QD_MATVEC_F32_CHAINS / LANES)

/* Elements [first, first + n) of the chains' vector j, as far as there are any; zeros past them. */
static inline VECTOR load_chains(const float *x, int left)
{
    return left >= LANES ? vector_load(x) : left > 0 ? vector_load_first(x, left) : vector_all(0);
}

static inline void run_matvec(const struct qd_matvec_f32_params *p)
{
    const float *weights = p->weights;

    for (int o = 0; o < p->n; o++, weights += p->k) {
        VECTOR sum[CHAIN_VECTORS];
        int k = 0;

        for (int j = 0; j < CHAIN_VECTORS; j++)
            sum[j] = vector_all(0);
        for (; k + QD_MATVEC_F32_CHAINS <= p->k; k += QD_MATVEC_F32_CHAINS)
            for (int j = 0; j < CHAIN_VECTORS; j++)
                sum[j] = vector_fma(vector_load(weights + k + j * LANES), vector_load(p->in + k + j * LANES), sum[j]);
        for (int j = 0; j < CHAIN_VECTORS && k < p->k; j++) {
            int at = k + j * LANES, left = p->k - at;

            sum[j] = vector_fma(load_chains(weights + at, left), load_chains(p->in + at, left), sum[j]);
        }
        p->out[o] = vector_sum_chains(sum) + (p->bias ? p->bias[o] : 0);
    }
}

#endif

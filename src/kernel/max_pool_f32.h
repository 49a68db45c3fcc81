/* The float max pool, for the vectors of the including file (vector_*.h). Static inline only. */
#ifndef QD_KERNEL_MAX_POOL_F32_H
#define QD_KERNEL_MAX_POOL_F32_H

#include <math.h>

#include "kernel/fill_f32.h"
#include "kernel/tiers.h"

/* One row of outputs. plane: tap (0, 0) of its first one. */
static inline void pool_row(const float *plane, const ptrdiff_t *taps, int n_taps, float *out, int out_w)
{
    for (int x = 0; x < out_w; x += LANES, plane += LANES) {
        VECTOR largest = vector_all(-INFINITY);

        for (int t = 0; t < n_taps; t++)
            largest = vector_max(largest, vector_load(plane + taps[t]));
        vector_store_first(out + x, largest, out_w - x < LANES ? out_w - x : LANES);
    }
}

static inline void run_max_pool(const struct qd_conv_f32_params *p)
{
    const struct qd_window_f32 *w = &p->window;
    struct qd_planes_f32 planes = qd_planes_f32_of(p);
    int n_taps = w->kernel_h * w->kernel_w;
    ptrdiff_t *taps = p->scratch;
    float *plane = (float *)(void *)(taps + n_taps), *out = p->out;

    for (int t = 0; t < n_taps; t++)
        taps[t] = qd_planes_f32_tap(&planes, w, t / w->kernel_w, t % w->kernel_w);
    for (int c = 0; c < p->c; c++) {
        fill_plane(&planes, p, p->in + (ptrdiff_t)c * p->h * p->w, -INFINITY, plane);
        for (int y = 0; y < p->out_h; y++, out += p->out_w)
            pool_row(plane + y * planes.row, taps, n_taps, out, p->out_w);
    }
}

#endif

/*
 * Walks through the pixels of a batch of images in memory: shared by the tiers of the convolution. Static inline only.
 */
#ifndef QD_KERNEL_PIXELS_H
#define QD_KERNEL_PIXELS_H

#include <stdbool.h>

#include "kernel/kernel.h"

/* A place among the output pixels of a convolution. */
struct qd_pixel {
    int image, y, x;
};

static inline struct qd_pixel qd_pixel_at(const struct qd_conv_params *p, int64_t index)
{
    int64_t row = index / p->out_w;
    struct qd_pixel pixel = {(int)(row / p->out_h), (int)(row % p->out_h), (int)(index % p->out_w)};

    return pixel;
}

static inline ptrdiff_t qd_pixel_offset(const struct qd_steps *steps, struct qd_pixel pixel)
{
    return pixel.image * steps->image + pixel.y * steps->y + pixel.x * steps->x;
}

static inline void qd_pixel_next(const struct qd_conv_params *p, struct qd_pixel *pixel)
{
    if (++pixel->x < p->out_w)
        return;
    pixel->x = 0;
    if (++pixel->y < p->out_h)
        return;
    pixel->y = 0;
    pixel->image++;
}

/* Where the next n pixels' input, output and residual lie; moves on to the pixel after them. */
static inline void qd_pixels_take(const struct qd_conv_params *p, struct qd_pixel *pixel, int n, const uint8_t **in,
                                  uint8_t **out, const uint8_t **residual)
{
    for (int i = 0; i < n; i++) {
        in[i] = p->in + qd_pixel_offset(&p->in_steps, *pixel);
        if (p->out)
            out[i] = p->out + qd_pixel_offset(&p->out_steps, *pixel);
        if (p->residual)
            residual[i] = p->residual + qd_pixel_offset(&p->residual_steps, *pixel);
        qd_pixel_next(p, pixel);
    }
}

/*
 * Makes long rows of short ones where input, output and residual have no gaps between them: *p is a copy of the
 * caller's. The pixels keep their numbers.
 */
static inline void qd_pixels_flatten(struct qd_conv_params *p)
{
    struct qd_steps *steps[3] = {&p->in_steps};
    int n_steps = 1;

    if (p->run_rows)
        return;
    if (p->out)
        steps[n_steps++] = &p->out_steps;
    if (p->residual)
        steps[n_steps++] = &p->residual_steps;
    for (int level = 0; level < 2; level++) {
        bool joined = true;

        for (int i = 0; i < n_steps && p->out_w > 1; i++)
            joined = joined && (p->out_h == 1 || steps[i]->y == p->out_w * steps[i]->x);
        if (!joined || (int64_t)p->out_w * p->out_h > INT32_MAX / 2)
            return;
        /* A row of one pixel takes the step of the rows; then images are the rows, and there is no end of them. */
        for (int i = 0; i < n_steps; i++) {
            if (p->out_w == 1 && p->out_h > 1)
                steps[i]->x = steps[i]->y;
            steps[i]->y = steps[i]->image;
        }
        p->out_w *= p->out_h;
        p->out_h = INT32_MAX / 2 / p->out_w;
    }
}

#endif

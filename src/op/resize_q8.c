/*
 * Resize over height and width on bytes: one scale in and out, so an output byte is the weighted sum of input bytes
 * (weights sum to 1, the zero point stays). Weights are integers of 1/2048: the same bytes everywhere. Nearest copies.
 */
#include <math.h>
#include <string.h>

#include "op/q8.h"
#include "op/resize.h"

#define WEIGHT_BITS 11

struct resize_q8 {
    int64_t c, in_w;
    int64_t out_h, out_w;
    int n_y, n_x;                       /* taps; 1 where nearest */
    const int32_t *y_at, *x_at;         /* [out][taps] */
    const int32_t *y_weight, *x_weight; /* NULL: copies */
    struct qd_steps in, out;
    int max; /* the largest byte */
};

bool qd_resize_supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_resize_params *params = node->params;
    const struct qd_shape *in = &graph->values[node->inputs[0]].shape;

    return node->act.kind == QD_ACT_NONE && in->n_dims == 4 && !params->axes[0].n_taps && !params->axes[1].n_taps &&
           params->attrs.coordinates != QD_COORDINATES_TF_CROP_AND_RESIZE && params->axes[2].n_taps <= 16 &&
           params->axes[3].n_taps <= 16;
}

/* Integers that sum to 2048 for each output element: the largest takes what rounding leaves. */
static int32_t *round_weights(const struct qd_resize_axis *axis, struct qd_arena *arena)
{
    int32_t *weights = qd_arena_array(arena, (size_t)axis->out * (size_t)axis->n_taps + 1, sizeof(*weights));

    for (int64_t i = 0; i < axis->out && weights; i++) {
        int32_t *w = weights + i * axis->n_taps, sum = 0;
        int largest = 0;

        for (int t = 0; t < axis->n_taps; t++) {
            w[t] = (int32_t)lrintf(axis->weights[i * axis->n_taps + t] * (1 << WEIGHT_BITS));
            sum += w[t];
            largest = w[t] > w[largest] ? t : largest;
        }
        w[largest] += (1 << WEIGHT_BITS) - sum;
    }
    return weights;
}

/* The axis as taps, one of weight 1 where it stays as it is. */
static enum qd_status take_axis(const struct qd_resize_axis *axis, bool copies, struct qd_arena *arena, int *ret_n,
                                const int32_t **ret_at, const int32_t **ret_weight, struct qd_error *err)
{
    struct qd_resize_axis own = *axis;

    if (!own.n_taps) {
        own.n_taps = 1;
        own.indices = qd_arena_array(arena, (size_t)own.out + 1, sizeof(*own.indices));
        own.weights = qd_arena_array(arena, (size_t)own.out + 1, sizeof(*own.weights));
        for (int64_t i = 0; i < own.out && own.indices && own.weights; i++) {
            own.indices[i] = (int32_t)i;
            own.weights[i] = 1;
        }
    }
    *ret_n = own.n_taps;
    *ret_at = own.indices;
    *ret_weight = copies || !own.weights ? NULL : round_weights(&own, arena);
    return own.indices && own.weights && (copies || *ret_weight)
               ? QD_OK
               : qd_error_set(err, QD_NO_MEMORY, "no memory for a Resize");
}

enum qd_status qd_resize_prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err)
{
    const struct qd_resize_params *params = prepare->node->params;
    const struct qd_shape *in = &prepare->graph->values[prepare->node->inputs[0]].shape;
    struct resize_q8 *r = qd_arena_alloc(prepare->arena, sizeof(*r));
    bool copies = params->attrs.mode == QD_RESIZE_NEAREST;
    enum qd_status status;

    if (!r)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a Resize");
    r->c = in->dims[1];
    r->in_w = in->dims[3];
    r->out_h = params->axes[2].out;
    r->out_w = params->axes[3].out;
    r->in = prepare->in_steps[0];
    r->out = prepare->out_steps[0];
    r->max = qd_q8_max(qd_q8_output(prepare));
    status = take_axis(&params->axes[2], copies, prepare->arena, &r->n_y, &r->y_at, &r->y_weight, err);
    if (status == QD_OK)
        status = take_axis(&params->axes[3], copies, prepare->arena, &r->n_x, &r->x_at, &r->x_weight, err);
    prepare->prepared = r;
    prepare->scratch_size = copies ? 0 : (size_t)(r->in_w * r->c) * sizeof(int32_t);
    return status;
}

static void copy_row(const struct resize_q8 *r, const uint8_t *in, int64_t y, uint8_t *out)
{
    const uint8_t *row = in + r->y_at[y] * r->in.y;

    for (int64_t x = 0; x < r->out_w; x++)
        memcpy(out + x * r->out.x, row + r->x_at[x] * r->in.x, (size_t)r->c);
}

/* The input rows under output row y, weighed, as one row of [in_w][c] sums of 1/2048. */
static void blend_rows(const struct resize_q8 *r, const uint8_t *in, int64_t y, int32_t *sums)
{
    for (int t = 0; t < r->n_y; t++) {
        const uint8_t *row = in + r->y_at[y * r->n_y + t] * r->in.y;
        int32_t w = r->y_weight[y * r->n_y + t];

        for (int64_t x = 0; x < r->in_w; x++) {
            const uint8_t *pixel = row + x * r->in.x;
            int32_t *to = sums + x * r->c;

            if (t)
                for (int64_t c = 0; c < r->c; c++)
                    to[c] += w * pixel[c];
            else
                for (int64_t c = 0; c < r->c; c++)
                    to[c] = w * pixel[c];
        }
    }
}

static void blend_pixel(const struct resize_q8 *r, const int32_t *sums, int64_t x, uint8_t *out)
{
    const int32_t *at = r->x_at + x * r->n_x, *w = r->x_weight + x * r->n_x;

    for (int64_t c = 0; c < r->c; c++) {
        int64_t sum = (int64_t)1 << (2 * WEIGHT_BITS - 1);
        int64_t byte;

        for (int t = 0; t < r->n_x; t++)
            sum += (int64_t)w[t] * sums[at[t] * r->c + c];
        byte = sum >> (2 * WEIGHT_BITS);
        out[c] = (uint8_t)(byte < 0 ? 0 : byte > r->max ? r->max : byte);
    }
}

void qd_resize_run_q8(const struct qd_q8_run *run, int thread, int n_threads)
{
    const struct resize_q8 *r = run->prepared;
    int64_t begin, end;

    qd_share(run->n_images * r->out_h, thread, n_threads, &begin, &end);
    for (; begin < end; begin++) {
        size_t image = (size_t)(begin / r->out_h);
        int64_t y = begin % r->out_h;
        const uint8_t *in = run->inputs[0] + image * run->input_pitch[0];
        uint8_t *out = (uint8_t *)run->outputs[0] + image * run->output_pitch[0] + y * r->out.y;

        if (!r->y_weight) {
            copy_row(r, in, y, out);
            continue;
        }
        blend_rows(r, in, y, run->scratch);
        for (int64_t x = 0; x < r->out_w; x++)
            blend_pixel(r, run->scratch, x, out + x * r->out.x);
    }
}

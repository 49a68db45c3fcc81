/* Max and average over windows; a mean over the whole picture is the window of its size. */
#include "export/internal.h"
#include "op/ops.h"
#include "op/pool.h"
#include "op/q8.h"

struct pool {
    struct qd_window window;
    int64_t h, w, out_h, out_w;
    int c, n_taps;         /* of the window */
    bool count_padding;    /* average: divide by all taps */
    bool by_taps;          /* average: mult[taps - 1], else mult[channel] */
    struct qd_fixed *mult; /* average: of a sum */
    int n_mult, zero;
    double *scale; /* average: [c], where the output is accumulators */
    struct qd_integer_finish finish;
};

static bool max_takes(const struct qd_graph *graph, const struct qd_node *node)
{
    (void)graph;
    return node->op->run_q8 == qd_pool_run_q8 && (node->op->flags & QD_OP_SAME_SCALE);
}

static bool average_takes(const struct qd_graph *graph, const struct qd_node *node)
{
    (void)graph;
    return node->op->run_q8 == qd_pool_run_q8 || node->op == &qd_op_global_average_pool ||
           node->op == &qd_op_reduce_mean;
}

static enum qd_status pool_make(const struct qd_integer_build *build, struct qd_integer_step *step,
                                struct qd_error *err)
{
    const struct qd_shape *in = &build->graph->values[step->inputs[0]].shape;
    const struct qd_shape *out = &build->graph->values[step->output].shape;
    struct pool *pool = qd_arena_alloc(build->arena, sizeof(*pool));

    if (!pool)
        return qd_integer_no_memory(err);
    step->data = pool;
    *pool = (struct pool){
        .window = {.kernel = {in->dims[2], in->dims[3]}, .stride = {1, 1}, .dilation = {1, 1}},
        .h = in->dims[2],
        .w = in->dims[3],
        .out_h = 1,
        .out_w = 1,
        .c = (int)in->dims[1],
        .zero = qd_q8_of(build->graph, step->inputs[0]).zero_point,
    };
    if (step->node->op->run_q8 == qd_pool_run_q8) {
        const struct qd_pool_attrs *attrs = step->node->params;

        pool->window = attrs->window;
        pool->count_padding = attrs->count_include_pad != 0;
        pool->by_taps = true;
        pool->out_h = out->dims[2];
        pool->out_w = out->dims[3];
    }
    pool->n_taps = (int)(pool->window.kernel[0] * pool->window.kernel[1]);
    return QD_OK;
}

/* Of a window over n taps: the multiplier, rounded as its kernel rounds it, over n, which needs more bits. */
static struct qd_fixed over_taps(const struct qd_integer_build *build, double mult, int n)
{
    int bits = build->multiplier_bits;

    return qd_fixed_of(qd_fixed_value(qd_fixed_of(mult, bits)) / n,
                       bits < QD_INTEGER_SLOPE_BITS ? QD_INTEGER_SLOPE_BITS : bits);
}

static enum qd_status average_make(const struct qd_integer_build *build, struct qd_integer_step *step,
                                   struct qd_error *err)
{
    enum qd_status status = pool_make(build, step, err);
    struct pool *pool = step->data;
    double out = step->accumulators ? 1 : (double)qd_q8_of(build->graph, step->output).scale;

    if (status != QD_OK)
        return status;
    pool->n_mult = pool->by_taps ? pool->n_taps : pool->c;
    pool->mult = qd_arena_array(build->arena, (size_t)pool->n_mult, sizeof(*pool->mult));
    pool->scale = qd_arena_array(build->arena, (size_t)pool->c, sizeof(double));
    if (!pool->mult || !pool->scale)
        return qd_integer_no_memory(err);
    for (int c = 0; c < pool->c; c++)
        pool->scale[c] = (double)qd_q8_channel(build->graph, step->inputs[0], c).scale / pool->n_taps;
    for (int i = 0; i < pool->n_mult; i++)
        pool->mult[i] = pool->by_taps ? over_taps(build, pool->scale[0] * pool->n_taps / out, i + 1)
                                      : over_taps(build, pool->scale[i] * pool->n_taps / out, pool->n_taps);
    return qd_integer_finish_make(build, step->node, 1, &pool->finish, err);
}

/* The tap's pixel under output (y, x), or NULL where it lies in the padding. */
static const uint8_t *tap(const struct pool *pool, const uint8_t *in, int64_t y, int64_t x, int t)
{
    const struct qd_window *window = &pool->window;
    int64_t iy = y * window->stride[0] + t / window->kernel[1] * window->dilation[0] - window->pad_begin[0];
    int64_t ix = x * window->stride[1] + t % window->kernel[1] * window->dilation[1] - window->pad_begin[1];

    return iy < 0 || iy >= pool->h || ix < 0 || ix >= pool->w ? NULL : in + (iy * pool->w + ix) * pool->c;
}

static void max_run(const struct qd_graph *graph, const struct qd_integer_step *step, void *const *values)
{
    const struct pool *pool = step->data;
    uint8_t *to = values[step->output];

    (void)graph;
    for (int64_t i = 0; i < pool->out_h * pool->out_w; i++, to += pool->c) {
        for (int c = 0; c < pool->c; c++)
            to[c] = 0;
        for (int t = 0; t < pool->n_taps; t++) {
            const uint8_t *pixel = tap(pool, qd_integer_in(step, values, 0), i / pool->out_w, i % pool->out_w, t);

            for (int c = 0; c < pool->c && pixel; c++)
                to[c] = pixel[c] > to[c] ? pixel[c] : to[c];
        }
    }
}

static void average_run(const struct qd_graph *graph, const struct qd_integer_step *step, void *const *values)
{
    const struct pool *pool = step->data;

    (void)graph;
    for (int64_t i = 0; i < pool->out_h * pool->out_w; i++) {
        for (int c = 0; c < pool->c; c++) {
            int64_t sum = 0, at = i * pool->c + c;
            int n = 0;

            for (int t = 0; t < pool->n_taps; t++) {
                const uint8_t *pixel = tap(pool, qd_integer_in(step, values, 0), i / pool->out_w, i % pool->out_w, t);

                sum += pixel ? pixel[c] - pool->zero : 0;
                n += pixel || pool->count_padding;
            }
            if (step->accumulators) {
                ((int32_t *)values[step->output])[at] = (int32_t)sum;
            } else {
                struct qd_fixed mult = pool->mult[pool->by_taps ? n - 1 : c];

                ((uint8_t *)values[step->output])[at] =
                    qd_integer_finish_byte(&pool->finish, sum * mult.m, mult.shift, c);
            }
        }
    }
}

static bool max_describe(const struct qd_graph *graph, const struct qd_integer_step *step, json_t *json,
                         struct qd_buf *bin)
{
    const struct pool *pool = step->data;
    const struct qd_window *window = &pool->window;
    const int64_t pads[] = {window->pad_begin[0], window->pad_begin[1], window->pad_end[0], window->pad_end[1]};
    const int64_t in[] = {pool->h, pool->w, pool->c}, out[] = {pool->out_h, pool->out_w, pool->c};

    (void)graph;
    (void)bin;
    return json_object_set_new(json, "in", qd_integer_ints(in, 3)) == 0 &&
           json_object_set_new(json, "out", qd_integer_ints(out, 3)) == 0 &&
           json_object_set_new(json, "kernel", qd_integer_ints(window->kernel, 2)) == 0 &&
           json_object_set_new(json, "strides", qd_integer_ints(window->stride, 2)) == 0 &&
           json_object_set_new(json, "dilations", qd_integer_ints(window->dilation, 2)) == 0 &&
           json_object_set_new(json, "pads", qd_integer_ints(pads, 4)) == 0;
}

static bool average_describe(const struct qd_graph *graph, const struct qd_integer_step *step, json_t *json,
                             struct qd_buf *bin)
{
    const struct pool *pool = step->data;
    json_t *scale = json_array();
    bool done = scale != NULL;

    for (int c = 0; c < pool->c && done; c++)
        done = json_array_append_new(scale, json_real(pool->scale[c])) == 0;
    done = max_describe(graph, step, json, bin) && done &&
           json_object_set_new(json, "input_zero_point", json_integer(pool->zero)) == 0;
    if (step->accumulators)
        return json_object_set_new(json, "output_scale", scale) == 0 && done;
    json_decref(scale);
    return done && json_object_set_new(json, "count_padding", json_boolean(pool->count_padding)) == 0 &&
           json_object_set_new(json, "multiplier_by", json_string(pool->by_taps ? "taps" : "channel")) == 0 &&
           json_object_set_new(json, "multiplier", qd_integer_multipliers(pool->mult, pool->n_mult)) == 0 &&
           json_object_set_new(json, "shift", qd_integer_shifts(pool->mult, pool->n_mult)) == 0 &&
           qd_integer_finish_describe(&pool->finish, 1, json);
}

static double scale_of(const struct qd_integer_step *step, int c)
{
    return ((const struct pool *)step->data)->scale[c];
}

const struct qd_integer_kind qd_integer_max_pool = {"max_pool", max_takes, pool_make, max_run, max_describe, NULL};
const struct qd_integer_kind qd_integer_average_pool = {"average_pool", average_takes,    average_make,
                                                        average_run,    average_describe, scale_of};

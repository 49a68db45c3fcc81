#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "engine/frame.h"
#include "util/clock.h"

static void set_view(const struct qd_frame *frame, int value, int image, struct qd_view *view)
{
    const struct qd_value *v;

    if (value == QD_NO_VALUE) {
        view->data = NULL;
        view->shape = NULL;
        return;
    }
    v = &frame->plan->graph->values[value];
    view->dtype = v->dtype;
    view->shape = &v->shape;
    /* run_f32 does not write to its inputs; the view's pointer is not const because outputs use it too. */
    view->data = v->data ? (void *)(uintptr_t)v->data : qd_frame_place(frame, QD_FORM_F32, value, image);
}

/* Rounding that is part of the model: floats become those of the levels. */
static void round_given(const struct qd_value *value, const struct qd_view *view)
{
    float *x = view->data;
    int64_t count = qd_shape_count(view->shape);

    for (int64_t i = 0; i < count; i++)
        x[i] = (float)(qd_q8_byte(x[i], value->q) - value->q.zero_point) * value->q.scale;
}

/*
 * A float step on blocks, or one that reads values which lie so: an input in the other order is turned round into the
 * step's scratch first. Returns the floats of output 0.
 */
static int64_t orient_views(const struct qd_frame *frame, const struct qd_step *step, struct qd_view *in,
                            const struct qd_view *out, const struct qd_f32_run *run)
{
    const struct qd_plan *plan = frame->plan;
    const struct qd_node *node = &plan->graph->nodes[step->node];
    float *room = (float *)(void *)((uint8_t *)run->scratch + step->own_scratch);

    for (int i = 0; i < node->n_inputs; i++) {
        bool wants = i < QD_BLOCKS_INPUTS && (step->blocks >> i & 1);
        const struct qd_shape *shape = in[i].shape;

        if (!in[i].data || plan->in_blocks[node->inputs[i]] == wants)
            continue;
        (wants ? run->kernels->f32->to_blocks : run->kernels->f32->from_blocks)(
            in[i].data, room, (int)shape->dims[1], (size_t)(shape->dims[2] * shape->dims[3]));
        in[i].data = room;
        room += qd_blocks_count(shape);
    }
    return step->blocks & QD_BLOCKS_OUTPUT ? (int64_t)qd_blocks_count(out[0].shape) : qd_shape_count(out[0].shape);
}

static void run_node_f32(struct qd_frame *frame, const struct qd_step *step, int image, int thread)
{
    const struct qd_node *node = &frame->plan->graph->nodes[step->node];
    struct qd_view *in = frame->views + (size_t)thread * (size_t)(frame->plan->max_views + 1);
    struct qd_view *out = in + node->n_inputs;
    struct qd_f32_run run = {frame->plan->options.kernels, frame->scratch + (size_t)thread * frame->plan->scratch_size,
                             step->blocks_prepared};
    int64_t count;

    for (int i = 0; i < node->n_inputs; i++)
        set_view(frame, node->inputs[i], image, &in[i]);
    for (int i = 0; i < node->n_outputs; i++)
        set_view(frame, node->outputs[i], image, &out[i]);
    count = orient_views(frame, step, in, out, &run);
    (step->blocks ? node->op->blocks->run : node->op->run_f32)(node, in, out, &run);
    if (out[0].dtype == QD_F32 && !(node->op->flags & QD_OP_FINISHES_F32) &&
        (node->residual >= 0 || node->act.kind != QD_ACT_NONE))
        run.kernels->f32->activate(&node->act, node->residual >= 0 ? in[node->residual].data : NULL, out[0].data,
                                   (size_t)count);
    for (int i = 0; i < node->n_outputs; i++)
        if (node->outputs[i] != QD_NO_VALUE && frame->plan->graph->values[node->outputs[i]].given)
            round_given(&frame->plan->graph->values[node->outputs[i]], &out[i]);
}

/* Pixels [first, first + n) between the place's [pixel][c] and planes [c][n]. */
static void transpose_pixels(const struct qd_place *place, uint8_t *image, int64_t first, int64_t n, uint8_t *planes,
                             bool to_planes)
{
    bool contiguous = place->steps.x == place->c && place->steps.y == place->w * place->c;

    if (contiguous && to_planes)
        qd_transpose_u8(image + first * place->c, planes, n, place->c);
    if (contiguous && !to_planes)
        qd_transpose_u8(planes, image + first * place->c, place->c, n);
    for (int64_t p = 0; p < n && !contiguous; p++) {
        uint8_t *pixel = image + (first + p) / place->w * place->steps.y + (first + p) % place->w * place->steps.x;

        for (int64_t c = 0; c < place->c; c++) {
            if (to_planes)
                planes[c * n + p] = pixel[c];
            else
                pixel[c] = planes[c * n + p];
        }
    }
}

/* Pixels that are converted at once: their bytes stay in L1 while they are transposed. */
static int64_t block_pixels(int64_t channels)
{
    int64_t n = channels ? 8192 / channels : 1;

    return n < 16 ? 16 : n;
}

/* Pixels [first, first + n) of one image, both ways between NHWC bytes and NCHW floats. */
static void convert_block(struct qd_frame *frame, const struct qd_step *step, int image, int64_t first, int64_t n,
                          int thread)
{
    const struct qd_plan *plan = frame->plan;
    const struct qd_kernels *kernels = plan->options.kernels;
    const struct qd_place *place = &plan->places[QD_FORM_Q8][step->value];
    uint8_t *q8 = qd_frame_place(frame, QD_FORM_Q8, step->value, image);
    float *f32 = (float *)qd_frame_place(frame, QD_FORM_F32, step->value, image) + first;
    uint8_t *scratch = frame->scratch + (size_t)thread * plan->scratch_size;
    int64_t pixels = place->h * place->w;

    if (step->kind == QD_STEP_QUANTIZE) {
        for (int c = 0; c < place->c; c++) {
            struct qd_qparams q = qd_q8_channel(plan->graph, step->value, c);

            kernels->quantize(f32 + c * pixels, scratch + c * n, (size_t)n, 1 / q.scale, (float)q.zero_point);
            for (int64_t i = c * n; q.bits < 8 && i < (c + 1) * n; i++)
                scratch[i] = scratch[i] < qd_q8_max(q) ? scratch[i] : (uint8_t)qd_q8_max(q);
        }
        transpose_pixels(place, q8, first, n, scratch, false);
        return;
    }
    transpose_pixels(place, q8, first, n, scratch, true);
    for (int c = 0; c < place->c; c++) {
        struct qd_qparams q = qd_q8_channel(plan->graph, step->value, c);

        kernels->dequantize(scratch + c * n, f32 + c * pixels, (size_t)n, q.scale, q.zero_point);
    }
}

/* Images [0, n_images), shared by blocks of pixels; by whole images where no barrier may follow (see needs_barrier). */
static void convert(struct qd_frame *frame, const struct qd_step *step, int n_images, int thread, int n_threads)
{
    const struct qd_place *place = &frame->plan->places[QD_FORM_Q8][step->value];
    int64_t pixels = place->h * place->w, block = block_pixels(place->c), n_blocks = (pixels + block - 1) / block;
    int64_t begin, end;

    if (frame->plan->options.keep_all) {
        for (int image = thread; image < n_images; image += n_threads)
            for (int64_t p = 0; p < pixels; p += block)
                convert_block(frame, step, image, p, pixels - p < block ? pixels - p : block, thread);
        return;
    }
    qd_share(n_blocks * n_images, thread, n_threads, &begin, &end);
    for (; begin < end; begin++) {
        int64_t p = begin % n_blocks * block;

        convert_block(frame, step, (int)(begin / n_blocks), p, pixels - p < block ? pixels - p : block, thread);
    }
}

/* Takes rows of one image off [*begin, end), which counts the rows of all images; false where none is left. */
static bool take_rows(const struct qd_place *place, int64_t *begin, int64_t end, int *ret_image, int64_t *ret_y,
                      int64_t *ret_n)
{
    if (*begin >= end)
        return false;
    *ret_image = (int)(*begin / place->h);
    *ret_y = *begin % place->h;
    *ret_n = end - *begin < place->h - *ret_y ? end - *begin : place->h - *ret_y;
    *begin += *ret_n;
    return true;
}

/* Which images a step works on: n of them from the first; in slots they are slot, slot + 1 ... */
struct images {
    int first, n, slot;
};

static int number_in(const struct qd_place *place, const struct images *images, int i)
{
    return i + (place->in_slot ? images->slot : images->first);
}

static void fill_padding(const struct qd_frame *frame, const struct qd_place *place, const struct images *images,
                         int thread, int n_threads)
{
    int64_t begin, end, y, n;
    int image;

    qd_share(images->n * place->h, thread, n_threads, &begin, &end);
    while (take_rows(place, &begin, end, &image, &y, &n))
        qd_place_fill_padding(place, qd_frame_image(frame, place, number_in(place, images, image)), y, y + n);
}

/* A value's pictures into their padded copies. */
static void copy_to_padded(const struct qd_frame *frame, int value, const struct images *images, int thread,
                           int n_threads)
{
    const struct qd_place *from = &frame->plan->places[QD_FORM_Q8][value];
    const struct qd_place *to = &frame->plan->places[QD_FORM_PADDED][value];
    int64_t step = from->steps.x == from->c ? to->w : 1, begin, end, y, n;
    int image;

    qd_share(images->n * to->h, thread, n_threads, &begin, &end);
    while (take_rows(to, &begin, end, &image, &y, &n)) {
        const uint8_t *in = qd_frame_image(frame, from, number_in(from, images, image)) + y * from->steps.y;
        uint8_t *out = qd_frame_image(frame, to, number_in(to, images, image)) + y * to->steps.y;

        for (; n > 0; n--, in += from->steps.y, out += to->steps.y)
            for (int64_t x = 0; x < to->w; x += step)
                memcpy(out + x * to->steps.x, in + x * from->steps.x, (size_t)(step * to->c));
    }
}

/* The run's pointers are the first image's: those of other images are made in the team thread's array. */
static void point_to_images(const struct qd_frame *frame, int s, const struct images *images, int team_thread,
                            struct qd_q8_run *run)
{
    const struct qd_plan *plan = frame->plan;
    const struct qd_step *step = &plan->steps[s];
    const struct qd_node *node = &plan->graph->nodes[step->node];
    void **in = frame->pointers + (size_t)team_thread * (size_t)(plan->max_views + 1), **out = in + node->n_inputs;

    for (int i = 0; i < node->n_inputs; i++) {
        enum qd_form form = qd_step_input_form(step, i);

        in[i] = NULL;
        if (run->inputs[i])
            in[i] = qd_frame_image(frame, &plan->places[form][node->inputs[i]],
                                   number_in(&plan->places[form][node->inputs[i]], images, 0));
    }
    for (int i = 0; i < node->n_outputs; i++) {
        enum qd_form form = i == 0 && step->output_f32 ? QD_FORM_F32 : QD_FORM_Q8;

        out[i] = NULL;
        if (run->outputs[i])
            out[i] = qd_frame_image(frame, &plan->places[form][node->outputs[i]],
                                    number_in(&plan->places[form][node->outputs[i]], images, 0));
    }
    run->inputs = (const uint8_t *const *)in;
    run->outputs = out;
}

/* team_thread: the thread's number in the whole team, where it works alone (thread 0 of 1). */
static void run_step(struct qd_frame *frame, int s, const struct images *images, int thread, int n_threads,
                     int team_thread)
{
    const struct qd_plan *plan = frame->plan;
    const struct qd_step *step = &plan->steps[s];

    for (int i = 0; i < step->n_to_pad; i++)
        fill_padding(frame, step->to_pad[i], images, thread, n_threads);
    if (step->kind == QD_STEP_PAD) {
        copy_to_padded(frame, step->value, images, thread, n_threads);
        return;
    }
    if (step->kind == QD_STEP_Q8) {
        struct qd_q8_run run = frame->runs[s];

        run.prepared = step->prepared;
        run.n_images = images->n;
        run.scratch = frame->scratch + (size_t)team_thread * plan->scratch_size;
        if (images->first || images->slot)
            point_to_images(frame, s, images, team_thread, &run);
        plan->graph->nodes[step->node].op->run_q8(&run, thread, n_threads);
        return;
    }
    if (step->kind != QD_STEP_F32) {
        convert(frame, step, images->n, thread, n_threads);
        return;
    }
    /* Float steps: whole images, so that a sum's order never depends on the number of threads. */
    for (int image = thread; image < images->n; image += n_threads)
        run_node_f32(frame, step, image, thread);
}

/*
 * Float steps and conversions work image by image, each always in the same thread, so that between two of them nobody
 * has to wait; an int8 step shares out every image. Where values share memory, though, one image's next value may lie
 * where another's last one still is read.
 */
static bool shares_images(const struct qd_step *step)
{
    return step->kind == QD_STEP_Q8 || step->kind == QD_STEP_PAD;
}

static bool needs_barrier(const struct qd_plan *plan, int s)
{
    return !plan->options.keep_all || s + 1 == plan->n_steps || shares_images(&plan->steps[s]) ||
           shares_images(&plan->steps[s + 1]);
}

/* Notes the time since the last note as the step's. */
static void note_time(struct qd_frame *frame, int s, int thread)
{
    int64_t now;

    if (thread != 0 || !frame->profile)
        return;
    now = qd_now_ns();
    frame->step_ns[s] += now - frame->last_ns;
    frame->last_ns = now;
}

/* Steps [begin, end), all threads together. */
static void run_together(struct qd_frame *frame, int begin, int end, const struct images *images, int thread,
                         int n_threads)
{
    for (int s = begin; s < end; s++) {
        run_step(frame, s, images, thread, n_threads, thread);
        if (needs_barrier(frame->plan, s))
            qd_barrier_wait(&frame->barrier, n_threads);
        note_time(frame, s, thread);
    }
}

/* The first steps, depth first: each thread its own images; those left over at the end, all threads together. */
static void run_depth_first(struct qd_frame *frame, int n_images, int thread, int n_threads)
{
    int depth = frame->plan->depth_steps, n_whole = n_images / n_threads * n_threads;
    struct images rest = {n_whole, n_images - n_whole, 0};

    for (int image = thread; image < n_whole; image += n_threads) {
        struct images one = {image, 1, thread};

        for (int s = 0; s < depth; s++) {
            run_step(frame, s, &one, 0, 1, thread);
            note_time(frame, s, thread);
        }
    }
    qd_barrier_wait(&frame->barrier, n_threads);
    if (rest.n)
        run_together(frame, 0, depth, &rest, thread, n_threads);
}

void qd_frame_run_share(struct qd_frame *frame, int n_images, int thread, int n_threads)
{
    const struct images all = {0, n_images, 0};
    int64_t start_ns = 0, waited_ns;

    if (thread == 0) {
        frame->last_ns = qd_now_ns();
        start_ns = frame->begun_ns ? frame->begun_ns : frame->last_ns;
        frame->begun_ns = 0;
    }
    if (frame->plan->depth_steps)
        run_depth_first(frame, n_images, thread, n_threads);
    run_together(frame, frame->plan->depth_steps, frame->plan->n_steps, &all, thread, n_threads);
    if (thread != 0)
        return;
    /* Whoever still wakes from the last barrier adds its wait to the next run's. */
    waited_ns = qd_barrier_waited_ns(&frame->barrier);
    qd_team_learn(&frame->team, n_threads, n_images, qd_now_ns() - start_ns,
                  (waited_ns - frame->waited_ns) / n_threads);
    frame->waited_ns = waited_ns;
}

int qd_frame_team(struct qd_frame *frame, int n_threads)
{
    frame->begun_ns = qd_now_ns();
    return qd_team_size(&frame->team, n_threads);
}

void qd_frame_run(struct qd_frame *frame, int n_images, int n_threads)
{
#ifdef _OPENMP
    n_threads = qd_team_size(&frame->team, n_threads);
    if (n_threads == 1) {
        /* Without a region: libgomp would allocate for every change of a team's size. */
        qd_frame_run_share(frame, n_images, 0, 1);
        return;
    }
#pragma omp parallel num_threads(n_threads)
    qd_frame_run_share(frame, n_images, omp_get_thread_num(), omp_get_num_threads());
#else
    (void)n_threads;
    qd_frame_run_share(frame, n_images, 0, 1);
#endif
}

static void run_step_share(struct qd_frame *frame, int step, int n_images, int thread, int n_threads)
{
    const struct images all = {0, n_images, 0};

    if (step >= frame->plan->depth_steps || n_images < n_threads) {
        run_step(frame, step, &all, thread, n_threads, thread);
        return;
    }
    for (int image = thread; image < n_images; image += n_threads) {
        struct images one = {image, 1, thread};

        run_step(frame, step, &one, 0, 1, thread);
    }
}

void qd_frame_run_step(struct qd_frame *frame, int step, int n_images, int n_threads)
{
#ifdef _OPENMP
    if (n_threads == 1) {
        /* As in qd_frame_run. */
        run_step_share(frame, step, n_images, 0, 1);
        return;
    }
#pragma omp parallel num_threads(n_threads)
    run_step_share(frame, step, n_images, omp_get_thread_num(), omp_get_num_threads());
#else
    (void)n_threads;
    run_step_share(frame, step, n_images, 0, 1);
#endif
}

void qd_frame_profile(struct qd_frame *frame, bool on)
{
    frame->profile = on;
    memset(frame->step_ns, 0, (size_t)frame->plan->n_steps * sizeof(int64_t));
}

int64_t qd_frame_step_ns(const struct qd_frame *frame, int step)
{
    return frame->step_ns[step];
}

/* The memory that a plan runs in, and what lies in it. */
#include <assert.h>
#include <string.h>

#include "engine/frame.h"

static enum qd_status make_run(struct qd_frame *frame, int s, struct qd_error *err)
{
    const struct qd_plan *plan = frame->plan;
    const struct qd_step *step = &plan->steps[s];
    const struct qd_node *node = &plan->graph->nodes[step->node];
    struct qd_q8_run *run = &frame->runs[s];
    const uint8_t **inputs = qd_arena_array(&frame->arena, (size_t)node->n_inputs + 1, sizeof(*inputs));
    size_t *input_pitch = qd_arena_array(&frame->arena, (size_t)node->n_inputs + 1, sizeof(*input_pitch));
    void **outputs = qd_arena_array(&frame->arena, (size_t)node->n_outputs + 1, sizeof(*outputs));
    size_t *output_pitch = qd_arena_array(&frame->arena, (size_t)node->n_outputs + 1, sizeof(*output_pitch));

    if (!inputs || !input_pitch || !outputs || !output_pitch)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a frame");
    for (int i = 0; i < node->n_inputs; i++) {
        enum qd_form form;

        if (node->inputs[i] == QD_NO_VALUE || plan->graph->values[node->inputs[i]].data)
            continue;
        form = qd_step_input_form(step, i);
        inputs[i] = qd_frame_place(frame, form, node->inputs[i], 0);
        input_pitch[i] = (size_t)plan->places[form][node->inputs[i]].pitch;
    }
    for (int i = 0; i < node->n_outputs; i++) {
        enum qd_form form = i == 0 && step->output_f32 ? QD_FORM_F32 : QD_FORM_Q8;

        if (node->outputs[i] == QD_NO_VALUE)
            continue;
        outputs[i] = qd_frame_place(frame, form, node->outputs[i], 0);
        output_pitch[i] = (size_t)plan->places[form][node->outputs[i]].pitch;
    }
    run->inputs = inputs;
    run->input_pitch = input_pitch;
    run->outputs = outputs;
    run->output_pitch = output_pitch;
    return QD_OK;
}

enum qd_status qd_frame_new(const struct qd_plan *plan, int n_threads, struct qd_frame **ret, struct qd_error *err)
{
    struct qd_frame *frame = qd_alloc(sizeof(*frame));
    size_t threads = (size_t)n_threads;
    enum qd_status status;

    if (!frame)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a frame");
    frame->plan = plan;
    frame->n_threads = n_threads;
    qd_barrier_init(&frame->barrier, n_threads);
    status = qd_alloc_for((void **)&frame->slab, plan->slab_size + QD_KERNEL_SLACK, 1, "activations", err);
    if (status == QD_OK)
        status =
            qd_alloc_for((void **)&frame->slots, threads * plan->slot_size + QD_KERNEL_SLACK, 1, "activations", err);
    if (status == QD_OK)
        status = qd_alloc_for((void **)&frame->pointers, threads * (size_t)(plan->max_views + 1), sizeof(void *),
                              "a frame", err);
    if (status == QD_OK)
        status = qd_alloc_for((void **)&frame->scratch, threads, plan->scratch_size, "scratch", err);
    if (status == QD_OK)
        status = qd_alloc_for((void **)&frame->views, threads * (size_t)(plan->max_views + 1), sizeof(struct qd_view),
                              "a frame", err);
    if (status == QD_OK)
        status = qd_alloc_for((void **)&frame->runs, (size_t)plan->n_steps + 1, sizeof(*frame->runs), "a frame", err);
    if (status == QD_OK)
        status = qd_alloc_for((void **)&frame->step_ns, (size_t)plan->n_steps + 1, sizeof(int64_t), "a frame", err);
    for (int s = 0; s < plan->n_steps && status == QD_OK; s++)
        if (plan->steps[s].kind == QD_STEP_Q8)
            status = make_run(frame, s, err);
    if (status != QD_OK) {
        qd_frame_free(frame);
        return status;
    }
    *ret = frame;
    return QD_OK;
}

void qd_frame_free(struct qd_frame *frame)
{
    if (!frame)
        return;
    qd_free(frame->slab);
    qd_free(frame->slots);
    qd_free(frame->pointers);
    qd_free(frame->scratch);
    qd_free(frame->views);
    qd_free(frame->runs);
    qd_free(frame->step_ns);
    qd_arena_done(&frame->arena);
    qd_free(frame);
}

uint8_t *qd_frame_input(struct qd_frame *frame, int image)
{
    return qd_frame_place(frame, QD_FORM_Q8, frame->plan->graph->pixels, image);
}

void *qd_frame_input_elements(struct qd_frame *frame, int input, int image)
{
    return qd_frame_place(frame, QD_FORM_F32, frame->plan->graph->inputs[input], image);
}

const float *qd_frame_output(const struct qd_frame *frame, int output, int image)
{
    int value = frame->plan->graph->outputs[output];
    const void *constant = frame->plan->graph->values[value].data;

    return constant ? constant : qd_frame_place(frame, QD_FORM_F32, value, image);
}

const float *qd_frame_value_f32(const struct qd_frame *frame, int value, int image)
{
    if (frame->plan->in_blocks[value])
        return NULL;
    return qd_frame_place(frame, QD_FORM_F32, value, image);
}

const float *qd_frame_read_f32(const struct qd_frame *frame, int value, int image, float *room)
{
    const struct qd_plan *plan = frame->plan;
    const struct qd_shape *shape = &plan->graph->values[value].shape;
    const float *floats = qd_frame_place(frame, QD_FORM_F32, value, image);

    if (!floats || !plan->in_blocks[value])
        return floats;
    plan->options.kernels->f32->from_blocks(floats, room, (int)shape->dims[1],
                                            (size_t)(shape->dims[2] * shape->dims[3]));
    return room;
}

void qd_copy_rows(const struct qd_place *place, uint8_t *image, uint8_t *rows, bool to_rows)
{
    for (int64_t y = 0; y < place->h; y++) {
        uint8_t *row = image + y * place->steps.y;
        int64_t n = place->steps.x == place->c ? 1 : place->w, size = place->c * (place->w / n);

        for (int64_t x = 0; x < n; x++, rows += size) {
            if (to_rows)
                memcpy(rows, row + x * place->steps.x, (size_t)size);
            else
                memcpy(row + x * place->steps.x, rows, (size_t)size);
        }
    }
}

static bool copy_bytes(const struct qd_frame *frame, enum qd_form form, int value, int image, uint8_t *ret)
{
    uint8_t *bytes = form == QD_FORM_F32 ? NULL : qd_frame_place(frame, form, value, image);

    if (bytes)
        qd_copy_rows(&frame->plan->places[form][value], bytes, ret, true);
    return bytes != NULL;
}

bool qd_frame_copy_q8(const struct qd_frame *frame, int value, int image, uint8_t *ret)
{
    return copy_bytes(frame, QD_FORM_Q8, value, image, ret);
}

bool qd_frame_copy_step_input(const struct qd_frame *frame, int step, int input, int image, uint8_t *ret)
{
    const struct qd_step *s = &frame->plan->steps[step];
    int value = s->kind == QD_STEP_Q8 ? frame->plan->graph->nodes[s->node].inputs[input] : QD_NO_VALUE;

    if (value == QD_NO_VALUE || frame->plan->graph->values[value].data)
        return false;
    return copy_bytes(frame, qd_step_input_form(s, input), value, image, ret);
}

/* The form of what a step makes first. */
static enum qd_form output_form(const struct qd_step *step)
{
    if (step->kind == QD_STEP_PAD)
        return QD_FORM_PADDED;
    if (step->kind == QD_STEP_QUANTIZE)
        return QD_FORM_Q8;
    return step->kind == QD_STEP_Q8 && !step->output_f32 ? QD_FORM_Q8 : QD_FORM_F32;
}

bool qd_frame_copy_step_output(const struct qd_frame *frame, int step, int image, uint8_t *ret)
{
    const struct qd_step *s = &frame->plan->steps[step];

    return copy_bytes(frame, output_form(s), s->value, image, ret);
}

const float *qd_frame_step_output_f32(const struct qd_frame *frame, int step, int image)
{
    const struct qd_step *s = &frame->plan->steps[step];

    assert(!frame->plan->in_blocks[s->value]); /* a plan in order keeps planes */
    return output_form(s) == QD_FORM_F32 ? qd_frame_place(frame, QD_FORM_F32, s->value, image) : NULL;
}

/*
 * How quantized values lie in a frame (padding, concatenations made in place). Each graph runs with every tier, 1 to 4
 * threads, 1 to 3 images, memory shared and not, and is held against its operators run one by one in memory of their
 * own, which no layout has a hand in. Step by step, nothing is written but what the step makes and its padding.
 */
#include <stdio.h>
#include <string.h>

#include "engine/internal.h"
#include "op/conv.h"
#include "op/q8.h"
#include "pass/pass.h"
#include "tests/unit/layout_graphs.h"

#define MAX_BATCH 3
#define MAX_THREADS 4

static size_t bytes_of(int value)
{
    return (size_t)qd_shape_count(&graph->values[value].shape);
}

static bool is_picture(int value)
{
    return qd_value_is_picture(&graph->values[value]);
}

static struct qd_steps tight_steps(int value)
{
    const int64_t *dims = graph->values[value].shape.dims;

    if (!is_picture(value))
        return (struct qd_steps){1, (ptrdiff_t)bytes_of(value), (ptrdiff_t)bytes_of(value)};
    return (struct qd_steps){dims[1], dims[3] * dims[1], (ptrdiff_t)bytes_of(value)};
}

static void fill_input(struct qd_frame *frame, int image)
{
    size_t size = bytes_of(graph->inputs[0]);

    for (size_t j = 0; j < size; j++)
        qd_frame_input(frame, image)[j] = (uint8_t)(j * 31 + (j * j) % 17 * 11 + (size_t)image * 77);
}

/* One image's bytes with padding around, on the heap; *ret_pixel is where it begins, *steps how it lies. */
static uint8_t *with_padding(int value, const uint8_t *in, const struct qd_q8_padding *padding, struct qd_steps *steps,
                             const uint8_t **ret_pixel)
{
    const int64_t *dims = graph->values[value].shape.dims;
    int64_t c = dims[1], h = dims[2], w = dims[3], row = w + padding->left + padding->right;
    size_t size = (size_t)((h + padding->top + padding->bottom) * row * c);
    uint8_t *out = malloc(size + QD_KERNEL_SLACK);

    for (size_t i = 0; i < size; i++)
        out[i] = qd_q8_byte(padding->value ? padding->value[i % (size_t)c] : 0, qd_q8_of(graph, value));
    memset(out + size, 0x5a, QD_KERNEL_SLACK);
    for (int64_t y = 0; y < h; y++)
        memcpy(out + ((y + padding->top) * row + padding->left) * c, in + y * w * c, (size_t)(w * c));
    *steps = (struct qd_steps){c, row * c, (ptrdiff_t)size};
    *ret_pixel = out + (padding->top * row + padding->left) * c;
    return out;
}

/* The node alone: each input a copy of its own on the heap, where a sanitizer sees what is read past its end. */
static void run_alone(const struct qd_node *node, const struct qd_kernels *kernels, uint8_t *const *values)
{
    struct qd_arena arena = {0};
    struct qd_steps in_steps[8] = {{0}}, out_steps[4] = {{0}};
    const uint8_t *inputs[8] = {NULL};
    uint8_t *copies[8] = {NULL};
    void *outputs[4] = {NULL};
    size_t in_pitch[8], out_pitch[4];
    struct qd_q8_prepare prepare = {.graph = graph,
                                    .node = node,
                                    .kernels = kernels,
                                    .in_steps = in_steps,
                                    .out_steps = out_steps,
                                    .arena = &arena};
    struct qd_q8_run run = {
        .inputs = inputs, .input_pitch = in_pitch, .outputs = outputs, .output_pitch = out_pitch, .n_images = 1};

    for (int i = 0; i < node->n_inputs; i++) {
        struct qd_q8_padding padding = {0};
        int v = node->inputs[i];

        if (v == QD_NO_VALUE || graph->values[v].data)
            continue;
        if (i == 0 && node->op->padding_q8)
            node->op->padding_q8(graph, node, &padding);
        if (is_picture(v)) {
            copies[i] = with_padding(v, values[v], &padding, &in_steps[i], &inputs[i]);
        } else {
            inputs[i] = copies[i] = malloc(bytes_of(v) + QD_KERNEL_SLACK);
            memcpy(copies[i], values[v], bytes_of(v));
            memset(copies[i] + bytes_of(v), 0x5a, QD_KERNEL_SLACK);
            in_steps[i] = tight_steps(v);
        }
        in_pitch[i] = (size_t)in_steps[i].image;
    }
    for (int i = 0; i < node->n_outputs; i++) {
        outputs[i] = values[node->outputs[i]];
        out_steps[i] = tight_steps(node->outputs[i]);
        out_pitch[i] = (size_t)out_steps[i].image;
    }
    ck_assert_ok(node->op->prepare_q8(&prepare, &err), &err);
    run.prepared = prepare.prepared;
    run.scratch = qd_alloc(prepare.scratch_size);
    node->op->run_q8(&run, 0, 1);
    qd_free(run.scratch);
    for (int i = 0; i < node->n_inputs; i++)
        free(copies[i]);
    qd_arena_done(&arena);
}

static bool runs_q8(const struct qd_plan *plan, const struct qd_node *node)
{
    for (int s = 0; s < plan->n_steps; s++)
        if (plan->steps[s].node == (int)(node - graph->nodes))
            return plan->steps[s].kind == QD_STEP_Q8;
    return plan->joined[node - graph->nodes];
}

/* Every int8 value of one image, against its operator alone on what came before. */
static void check_values(const char *name, const struct qd_plan *plan, const struct qd_frame *frame, int image,
                         const struct qd_kernels *kernels)
{
    uint8_t **values = qd_alloc_array((size_t)graph->n_values, sizeof(*values));

    for (int v = 0; v < graph->n_values; v++) {
        if (graph->values[v].data)
            continue;
        values[v] = malloc(bytes_of(v));
        memset(values[v], 0, bytes_of(v));
        if (graph->values[v].producer < 0 || !runs_q8(plan, &graph->nodes[graph->values[v].producer]))
            qd_frame_copy_q8(frame, v, image, values[v]);
    }
    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];

        if (!runs_q8(plan, node))
            continue;
        run_alone(node, kernels, values);
        for (int i = 0; i < node->n_outputs; i++) {
            size_t size = bytes_of(node->outputs[i]);
            uint8_t *found = malloc(size);

            if (qd_frame_copy_q8(frame, node->outputs[i], image, found))
                for (size_t j = 0; j < size; j++)
                    if (found[j] != values[node->outputs[i]][j])
                        ck_abort_msg("%s, %s, image %d: byte %zu of '%s' is %d in the plan, %d alone", name,
                                     kernels->name, image, j, graph->values[node->outputs[i]].name, found[j],
                                     values[node->outputs[i]][j]);
            free(found);
        }
    }
    for (int v = 0; v < graph->n_values; v++)
        free(values[v]);
    qd_free(values);
}

enum { MARK_PIXELS = 1, MARK_PADDING = 2 };

static void mark_place(const struct qd_place *place, int n_images, uint8_t mark, uint8_t *marks)
{
    for (int image = 0; image < n_images; image++) {
        uint8_t *first = marks + place->offset + place->at + image * place->steps.image;

        for (int64_t y = 0; y < place->h; y++)
            for (int64_t x = 0; x < place->w; x++)
                memset(first + y * place->steps.y + x * place->steps.x, mark, (size_t)place->c);
    }
}

/* What a step may write: the padding of a place is all of it but the pixels. */
static void mark_step(const struct qd_plan *plan, int s, int n_images, uint8_t *marks)
{
    static const enum qd_form forms[] = {
        [QD_STEP_Q8] = QD_FORM_Q8,          [QD_STEP_F32] = QD_FORM_F32,    [QD_STEP_QUANTIZE] = QD_FORM_Q8,
        [QD_STEP_DEQUANTIZE] = QD_FORM_F32, [QD_STEP_PIXELS] = QD_FORM_F32, [QD_STEP_PAD] = QD_FORM_PADDED};
    const struct qd_step *step = &plan->steps[s];

    memset(marks, 0, plan->slab_size);
    for (int i = 0; i < step->n_to_pad; i++) {
        memset(marks + step->to_pad[i]->offset, MARK_PADDING, (size_t)(step->to_pad[i]->steps.image * n_images));
        mark_place(step->to_pad[i], n_images, 0, marks);
    }
    for (int i = 0; i < (step->node < 0 ? 1 : graph->nodes[step->node].n_outputs); i++) {
        int v = step->node < 0 ? step->value : graph->nodes[step->node].outputs[i];
        enum qd_form form = step->output_f32 ? QD_FORM_F32 : forms[step->kind];
        const struct qd_place *place = &plan->places[form][v];

        if (form != QD_FORM_F32) {
            mark_place(place, n_images, MARK_PIXELS, marks);
            continue;
        }
        for (int image = 0; image < n_images; image++)
            memset(marks + place->offset + image * place->steps.image, MARK_PIXELS, bytes_of(v) * sizeof(float));
    }
}

/* Runs on memory full of `pattern`: a byte that a step wrote outside of what it makes shows. */
static void run_watched(const char *name, const struct qd_plan *plan, struct qd_frame *frame, int n_images,
                        int n_threads, uint8_t pattern)
{
    const struct qd_place *input = &plan->places[QD_FORM_Q8][graph->inputs[0]];
    uint8_t *slab = qd_frame_input(frame, 0) - input->at - input->offset;
    uint8_t *before = malloc(plan->slab_size), *marks = malloc(plan->slab_size);

    memset(slab, pattern, plan->slab_size);
    for (int image = 0; image < n_images; image++)
        fill_input(frame, image);
    for (int s = 0; s < plan->n_steps; s++) {
        struct qd_step_info info;

        qd_plan_step(plan, s, &info);
        memcpy(before, slab, plan->slab_size);
        mark_step(plan, s, n_images, marks);
        qd_frame_run_step(frame, s, n_images, n_threads);
        for (size_t i = 0; i < plan->slab_size; i++)
            if (before[i] != slab[i] && !marks[i])
                ck_abort_msg("%s, %s, %d images, %d threads: step %d (%s) wrote byte %zu, which is not its own", name,
                             plan->options.kernels->name, n_images, n_threads, s, info.name, i);
    }
    free(before);
    free(marks);
}

static void check_shape_of_plan(const struct layout *layout, const struct qd_plan *plan)
{
    int n_joined = 0, n_padded = 0, n_f32 = 0;

    for (int n = 0; n < graph->n_nodes; n++)
        n_joined += plan->joined[n] && !plan->places[QD_FORM_Q8][graph->nodes[n].outputs[0]].renamed;
    for (int s = 0; s < plan->n_steps; s++) {
        n_padded += plan->steps[s].kind == QD_STEP_PAD;
        n_f32 += plan->steps[s].kind == QD_STEP_F32;
    }
    ck_assert_msg(n_joined == layout->n_joined && n_padded == layout->n_padded && n_f32 == layout->n_f32,
                  "%s: expected %d joined, %d padded copies, %d in float; found %d, %d, %d", layout->name,
                  layout->n_joined, layout->n_padded, layout->n_f32, n_joined, n_padded, n_f32);
}

static struct qd_frame *new_frame(enum qd_precision precision, const struct qd_kernels *kernels, int n_threads,
                                  int max_batch, bool keep_all, struct qd_plan **ret_plan)
{
    struct qd_plan_options options = {
        .precision = precision, .max_batch = max_batch, .kernels = kernels, .keep_all = keep_all};
    struct qd_frame *frame;

    ck_assert_ok(qd_plan_new(graph, &options, ret_plan, &err), &err);
    ck_assert_ok(qd_frame_new(*ret_plan, n_threads, &frame, &err), &err);
    for (int image = 0; image < max_batch; image++)
        fill_input(frame, image);
    return frame;
}

static void check_outputs(const struct layout *layout, const struct qd_frame *frame, int n_images, size_t size,
                          const float *want, const char *how)
{
    for (int image = 0; image < n_images; image++)
        ck_assert_msg(memcmp(qd_frame_output(frame, 0, image), want + (size_t)image * size, size * sizeof(float)) == 0,
                      "%s, %s: image %d of %d has other bytes", layout->name, how, image, n_images);
}

/*
 * One plan: each number of images and threads, on clean memory and on two kinds of dirt. Steps one by one are watched
 * where none of them runs depth first: with one image, and with all values kept.
 */
static void check_plan(const struct layout *layout, const struct qd_kernels *kernels, int max_batch, bool keep_all,
                       size_t size, const float *want)
{
    struct qd_plan *plan;
    struct qd_frame *frame = new_frame(QD_PRECISION_Q8, kernels, MAX_THREADS, max_batch, keep_all, &plan);
    char how[64];

    check_shape_of_plan(layout, plan);
    for (int n = 1; n <= max_batch; n++) {
        for (int n_threads = 1; n_threads <= (n < MAX_BATCH ? 2 : MAX_THREADS); n_threads++) {
            snprintf(how, sizeof(how), "%s, %d threads%s", kernels->name, n_threads, keep_all ? ", all kept" : "");
            for (int image = 0; image < n; image++)
                fill_input(frame, image); /* its memory is shared */
            qd_frame_run(frame, n, n_threads);
            check_outputs(layout, frame, n, size, want, how);
        }
        if (keep_all)
            check_values(layout->name, plan, frame, n - 1, kernels);
        for (int dirt = 0; dirt < 2 && !plan->depth_steps; dirt++) {
            run_watched(layout->name, plan, frame, n, n == MAX_BATCH ? 2 : 1, dirt ? 0xff : 0);
            check_outputs(layout, frame, n, size, want, dirt ? "memory of ones" : "memory of zeros");
        }
    }
    qd_frame_free(frame);
    qd_plan_free(plan);
}

static void check_layout(const struct layout *layout)
{
    struct qd_plan *plan, *f32_plan;
    struct qd_frame *frame, *f32;
    size_t size;
    float *want;
    int y;

    layout->build();
    y = graph->outputs[0];
    size = bytes_of(y);
    f32 = new_frame(QD_PRECISION_F32, qd_kernels_of(QD_ISA_SCALAR), 1, MAX_BATCH, true, &f32_plan);
    qd_frame_run(f32, MAX_BATCH, 1);
    scales_from(f32, MAX_BATCH);
    frame = new_frame(QD_PRECISION_Q8, qd_kernels_of(QD_ISA_SCALAR), 1, MAX_BATCH, true, &plan);
    qd_frame_run(frame, MAX_BATCH, 1);
    want = qd_alloc_array(MAX_BATCH * size, sizeof(float));
    for (int image = 0; image < MAX_BATCH; image++) {
        memcpy(want + (size_t)image * size, qd_frame_output(frame, 0, image), size * sizeof(float));
        for (size_t i = 0; i < size; i++) {
            double expected = (double)qd_frame_output(f32, 0, image)[i], found = (double)want[(size_t)image * size + i];

            ck_assert_msg(fabs(expected - found) <= layout->steps * (double)graph->values[y].q.scale,
                          "%s, image %d, element %zu: expected %g, found %g, a step is %g", layout->name, image, i,
                          expected, found, (double)graph->values[y].q.scale);
        }
    }
    for (int isa = 0; isa < QD_N_ISA; isa++) {
        const struct qd_kernels *kernels = qd_kernels_of((enum qd_isa)isa);

        if (!kernels)
            continue;
        check_plan(layout, kernels, 1, false, size, want);
        check_plan(layout, kernels, MAX_BATCH, false, size, want);
        check_plan(layout, kernels, MAX_BATCH, true, size, want);
    }
    qd_frame_free(frame);
    qd_plan_free(plan);
    qd_frame_free(f32);
    qd_plan_free(f32_plan);
    qd_free(want);
    qd_graph_free(graph);
}

START_TEST(test_layouts)
{
    check_layout(&layouts[_i]);
}
END_TEST

QD_UNIT_LOOP_MAIN("layout", test_layouts, QD_ARRAY_SIZE(layouts))

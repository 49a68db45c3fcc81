/* What stages of a calibration are judged by: outputs of classes and others, on both halves of the pictures. */
#include <math.h>
#include <string.h>

#include "quant/network_error.h"
#include "tests/unit/build_graph.h"

#define N_IMAGES 2

/* Six channels of 4 x 5, or their means as classes. */
static void build(bool classes)
{
    int y;

    begin(shape4(3, 4, 5));
    y = node("Conv", "c", (int[]){graph->inputs[0], constant("w", (struct qd_shape){4, {6, 3, 1, 1}}, 1)}, 2, NULL, 0);
    end(classes ? node1("Flatten", "flat", node1("GlobalAveragePool", "mean", y)) : y);
}

static struct qd_network_error measure(bool classes)
{
    struct qd_plan_options options = {.precision = QD_PRECISION_F32,
                                      .max_batch = N_IMAGES,
                                      .kernels = qd_kernels_of(QD_ISA_SCALAR),
                                      .keep_all = true};
    uint8_t pixels[N_IMAGES][60], *inputs[N_IMAGES];
    float *outputs[N_IMAGES];
    struct qd_statistics s = {.n_images = N_IMAGES, .n_kept = N_IMAGES, .inputs = inputs, .outputs = outputs};
    struct qd_network_error found;
    struct qd_plan *plan;
    struct qd_frame *frame;

    build(classes);
    s.graph = graph;
    ck_assert_ok(qd_plan_new(graph, &options, &plan, &err), &err);
    ck_assert_ok(qd_frame_new(plan, 1, &frame, &err), &err);
    for (int i = 0; i < N_IMAGES; i++) {
        for (int j = 0; j < 60; j++)
            pixels[i][j] = (uint8_t)(j * 37 + i * 91);
        memcpy(qd_frame_input(frame, i), pixels[i], 60);
        inputs[i] = pixels[i];
    }
    qd_frame_run(frame, N_IMAGES, 1);
    scales_from(frame, N_IMAGES);
    for (int i = 0; i < N_IMAGES; i++)
        outputs[i] = (float *)(uintptr_t)qd_frame_output(frame, 0, i);
    ck_assert_ok(qd_network_error_measure(graph, &s, N_IMAGES, options.kernels, 1, &found, &err), &err);
    qd_frame_free(frame);
    qd_plan_free(plan);
    qd_graph_free(graph);
    return found;
}

START_TEST(test_classes)
{
    struct qd_network_error classes = measure(true), maps = measure(false);

    ck_assert(classes.has_classes);
    ck_assert(!maps.has_classes);
    for (int half = 0; half < 2; half++)
        ck_assert(classes.db[half] > 20 && maps.db[half] > 20);
}
END_TEST

START_TEST(test_is_better)
{
    const struct qd_network_error before = {.db = {20, 21}, .kl = {0.01, 0.02}, .has_classes = true};
    struct qd_network_error after = before;

    ck_assert(!qd_network_error_is_better(&after, &before));
    after.db[0] = 22;
    ck_assert(!qd_network_error_is_better(&after, &before)); /* on one half */
    after.db[1] = 22;
    ck_assert(qd_network_error_is_better(&after, &before));
    after.kl[1] = 0.0221;
    ck_assert(qd_network_error_is_better(&after, &before));
    after.kl[1] = 0.03;
    ck_assert(!qd_network_error_is_better(&after, &before));
    after.has_classes = false;
    ck_assert(qd_network_error_is_better(&after, &before));
    after.n_refused = 1;
    ck_assert(!qd_network_error_is_better(&after, &before));
    after.n_refused = 0;
    after.db[1] = (double)NAN; /* no picture */
    ck_assert(!qd_network_error_is_better(&before, &after) && !qd_network_error_is_better(&after, &after));
}
END_TEST

/* A network that gives NaN or infinity agrees with nothing. */
START_TEST(test_what_is_no_number)
{
    const float good[3] = {1, 3, 2}, broken[3] = {NAN, NAN, NAN}, partly[3] = {NAN, 3, 2},
                endless[3] = {1, INFINITY, 2};
    struct qd_comparison c;

    qd_compare_outputs(good, good, 3, &c);
    ck_assert(c.agrees && c.db == 100);
    qd_compare_outputs(broken, broken, 3, &c);
    ck_assert(!c.agrees && c.db == -100);
    qd_compare_outputs(good, broken, 3, &c);
    ck_assert(!c.agrees && c.db == -100);
    qd_compare_outputs(good, partly, 3, &c);
    ck_assert(c.agrees && c.db == -100);
    qd_compare_outputs(good, endless, 3, &c);
    ck_assert(c.db == -100);
}
END_TEST

QD_UNIT_MAIN("network_error", test_classes, test_is_better, test_what_is_no_number)

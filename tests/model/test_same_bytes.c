/*
 * Whole networks: the same picture gives the same bytes for every ISA that this CPU has, 1 to 3 threads, batches of 1 to
 * 8, at every position. The bundled model always; models of the zoo where they are.
 */
#include <stdio.h>
#include <string.h>

#include "serve/model.h"
#include "tests/unit/unit.h"
#include "util/file.h"

static void fill_picture(uint8_t *pixels, size_t size, uint32_t seed)
{
    for (size_t i = 0; i < size; i++)
        pixels[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
}

/* Every position of a batch of n, with n_threads; other places hold other pictures. */
static void check_batch(const struct qd_plan *plan, int n, int n_threads, const float *want, size_t count, size_t size)
{
    struct qd_error err = {""};
    struct qd_frame *frame;

    ck_assert_ok(qd_frame_new(plan, n_threads, &frame, &err), &err);
    for (int position = 0; position < n; position++) {
        for (int i = 0; i < n; i++)
            fill_picture(qd_frame_input(frame, i), size, i == position ? 1 : (uint32_t)(100 * n + i));
        qd_frame_run(frame, n, n_threads);
        ck_assert_msg(memcmp(qd_frame_output(frame, 0, position), want, count * sizeof(float)) == 0,
                      "%s, batch %d, position %d, %d threads: other bytes", qd_plan_kernels(plan)->name, n, position,
                      n_threads);
    }
    qd_frame_free(frame);
}

static void check_model(const char *path, int max_batch)
{
    struct qd_model_options options = {.n_threads = 2, .max_batch = 8, .limits = {100000000}, .max_images = 16};
    struct qd_error err = {""};
    struct qd_model *model;
    float *want = NULL;
    size_t count, size;

    ck_assert_ok(qd_kernels_init(&options.kernels, &err), &err);
    ck_assert_ok(qd_model_load(path, &options, &model, &err), &err);
    count = (size_t)qd_plan_output_count(model->result.int8, 0);
    size = qd_preprocess_bytes(&model->config.preprocess);
    for (int isa = 0; isa < QD_N_ISA; isa++) {
        struct qd_plan_options plan_options = {QD_PRECISION_Q8, 8, qd_kernels_of((enum qd_isa)isa), false};
        struct qd_plan *plan;

        if (!plan_options.kernels)
            continue;
        ck_assert_ok(qd_plan_new(model->graph, &plan_options, &plan, &err), &err);
        if (!want) {
            struct qd_frame *frame;

            want = qd_alloc_array(count, sizeof(float));
            ck_assert_ok(qd_frame_new(plan, 1, &frame, &err), &err);
            fill_picture(qd_frame_input(frame, 0), size, 1);
            qd_frame_run(frame, 1, 1);
            memcpy(want, qd_frame_output(frame, 0, 0), count * sizeof(float));
            qd_frame_free(frame);
        }
        for (int n = 1; n <= max_batch; n++)
            for (int n_threads = 1; n_threads <= 3; n_threads++)
                check_batch(plan, n, n_threads, want, count, size);
        qd_plan_free(plan);
    }
    qd_free(want);
    qd_model_unref(model);
}

START_TEST(test_bundled)
{
    char path[4096];

    snprintf(path, sizeof(path), "%s/models/fashion-mnist", getenv("QD_SRC") ? getenv("QD_SRC") : ".");
    check_model(path, 8);
}
END_TEST

static void check_zoo(const char *name, int max_batch)
{
    char path[4096];

    snprintf(path, sizeof(path), "%s/../shared/zoo/models/%s", getenv("QD_SRC") ? getenv("QD_SRC") : ".", name);
    if (qd_is_folder(path))
        check_model(path, max_batch);
    else
        printf("# %s is not there: not covered\n", path);
}

START_TEST(test_resnet20)
{
    check_zoo("resnet20_cifar10", 4);
}
END_TEST

START_TEST(test_mobilenet_v3_small)
{
    check_zoo("mobilenet_v3_small", 2);
}
END_TEST

START_TEST(test_squeezenet)
{
    check_zoo("squeezenet1.1", 2);
}
END_TEST

QD_UNIT_MAIN("same_bytes", test_bundled, test_resnet20, test_mobilenet_v3_small, test_squeezenet)

/*
 * The int8 form of a small graph against its float one, within a number of steps of the output, for every tier and 1 to
 * 3 threads, all with the same bytes.
 */
#ifndef QD_TESTS_CHECK_Q8_H
#define QD_TESTS_CHECK_Q8_H

#include <string.h>

#include "tests/unit/build_graph.h"

static inline struct qd_frame *run_plan(enum qd_precision precision, const struct qd_kernels *kernels, int threads,
                                        struct qd_plan **ret_plan)
{
    struct qd_plan_options options = {.precision = precision, .max_batch = 2, .kernels = kernels, .keep_all = true};
    struct qd_frame *frame;
    int h, w, c;

    ck_assert_ok(qd_plan_new(graph, &options, ret_plan, &err), &err);
    ck_assert_ok(qd_frame_new(*ret_plan, threads, &frame, &err), &err);
    qd_plan_input_size(*ret_plan, &h, &w, &c);
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < h * w * c; j++)
            qd_frame_input(frame, i)[j] = (uint8_t)(j * 31 + (j * j) % 17 * 11 + i * 5);
    qd_frame_run(frame, 2, threads);
    return frame;
}

/* Scales from the float run (as minmax would choose), then the int8 run of every tier against it. */
static inline void check_q8(double steps)
{
    struct qd_plan *plan, *q_plan;
    struct qd_frame *f32, *q8;
    int y = graph->outputs[0], first = 1;
    int64_t count = qd_shape_count(&graph->values[y].shape);
    float reference[1 << 14];

    ck_assert_int_le(count, 1 << 14);
    f32 = run_plan(QD_PRECISION_F32, qd_kernels_of(QD_ISA_SCALAR), 1, &plan);
    scales_from(f32, 2);
    for (int isa = 0; isa < QD_N_ISA; isa++) {
        const struct qd_kernels *kernels = qd_kernels_of((enum qd_isa)isa);

        for (int threads = 1; threads <= 3 && kernels; threads++) {
            const float *want, *found;
            float step = graph->values[y].q.scale;

            q8 = run_plan(QD_PRECISION_Q8, kernels, threads, &q_plan);
            for (int s = 0; s < qd_plan_n_steps(q_plan); s++) {
                struct qd_step_info info;

                qd_plan_step(q_plan, s, &info);
                /* Copies at the end are float by a pass's choice (keep_tail_float). */
                ck_assert_msg(info.kind != QD_STEP_F32 || (info.node->op->flags & QD_OP_MOVES), "%s runs in fp32: %s",
                              info.name, info.why_f32);
            }
            for (int i = 0; i < 2; i++) {
                want = qd_frame_output(f32, 0, i);
                found = qd_frame_output(q8, 0, i);
                for (int64_t j = 0; j < count; j++)
                    ck_assert_msg(fabs((double)want[j] - (double)found[j]) <= steps * (double)step + 1e-6,
                                  "%s, %d threads, image %d, element %d: expected %g, found %g, a step is %g",
                                  kernels->name, threads, i, (int)j, (double)want[j], (double)found[j], (double)step);
            }
            found = qd_frame_output(q8, 0, 1);
            if (first)
                memcpy(reference, found, (size_t)count * sizeof(float));
            ck_assert_mem_eq(reference, found, (size_t)count * sizeof(float));
            first = 0;
            qd_frame_free(q8);
            qd_plan_free(q_plan);
        }
    }
    qd_frame_free(f32);
    qd_plan_free(plan);
    qd_graph_free(graph);
}

/* x -> Relu'd convolution, so that what follows reads a quantized tensor of c channels, 8 x 9. */
static inline int start_features(int64_t c)
{
    int inputs[2];

    begin(shape4(3, 8, 9));
    inputs[0] = graph->inputs[0];
    inputs[1] = constant("w0", (struct qd_shape){4, {c, 3, 1, 1}}, 0.02f);
    return node("Conv", "features", inputs, 2, NULL, 0);
}

#endif

/* The arithmetic of the monitor: windows, the stability index and its classes, bins, clipping; and a small network. */
#include <math.h>
#include <string.h>

#include "quant/evaluate.h"
#include "quant/histogram.h"
#include "quant/live.h"
#include "tests/unit/build_graph.h"

START_TEST(test_window)
{
    double mean = 0;

    for (int n = 1; n <= 4; n++)
        mean = qd_window_add(mean, n, 4, n);
    ck_assert_double_eq_tol(mean, 2.5, 1e-12); /* of all, until it is full */
    mean = qd_window_add(mean, 5, 4, 10.5);
    ck_assert_double_eq_tol(mean, 4.5, 1e-12);
    for (int n = 6; n < 200; n++)
        mean = qd_window_add(mean, n, 4, 1);
    ck_assert_double_eq_tol(mean, 1, 1e-9); /* what was before is forgotten */
}
END_TEST

START_TEST(test_psi)
{
    const double half[2] = {0.5, 0.5}, shifted[2] = {0.6, 0.4}, as_counts[2] = {50, 50}, none[2] = {1, 0};

    ck_assert_double_eq(qd_psi(half, half, 2), 0);
    ck_assert_double_eq_tol(qd_psi(half, as_counts, 2), 0, 1e-6);
    /* 0.1 ln 1.2 + 0.1 ln 1.25 */
    ck_assert_double_eq_tol(qd_psi(half, shifted, 2), 0.1 * log(1.2) - 0.1 * log(0.8), 2e-5);
    ck_assert_double_eq_tol(qd_psi(half, shifted, 2), qd_psi(shifted, half, 2), 1e-12);
    ck_assert(qd_psi(half, none, 2) > 4 && qd_psi(half, none, 2) < 5); /* finite: 0.5 ln(0.5 / 1e-4) and a little */
}
END_TEST

START_TEST(test_classes)
{
    double shares[QD_LIVE_BINS] = {0}, sums[QD_PSI_CLASSES] = {0};
    int class_of[QD_LIVE_BINS], n;

    shares[0] = 0.5;
    for (int i = 20; i < 60; i++)
        shares[i] = 0.0125;
    n = qd_psi_classes(shares, class_of);
    ck_assert_int_eq(n, 6); /* zeros, and five tenths */
    for (int i = 0; i < QD_LIVE_BINS; i++) {
        ck_assert(class_of[i] >= 0 && class_of[i] < n && (!i || class_of[i] >= class_of[i - 1]));
        sums[class_of[i]] += shares[i];
    }
    for (int i = 0; i < n; i++)
        ck_assert_double_ge(sums[i], 0.1 - 1e-12);
    memset(shares, 0, sizeof(shares));
    shares[7] = 1;
    ck_assert_int_eq(qd_psi_classes(shares, class_of), 1);
    for (int i = 0; i < QD_LIVE_BINS; i++)
        shares[i] = 1.0 / QD_LIVE_BINS;
    ck_assert_int_le(qd_psi_classes(shares, class_of), QD_PSI_CLASSES);
}
END_TEST

/* The bins of a calibration's report, from its histogram. */
static void report_shares(const float *x, size_t n, float low, double *ret)
{
    struct qd_histogram histogram = {0};
    struct qd_bin *bins;
    size_t n_bins;

    ck_assert_ok(qd_histogram_add(&histogram, x, n, &err), &err);
    ck_assert_ok(qd_histogram_bins(&histogram, &bins, &n_bins, &err), &err);
    ret[0] = (double)histogram.n_zero;
    qd_bins_halves(bins, n_bins, (double)low, ret + 1, QD_REPORT_BINS);
    for (int i = 0; i < QD_LIVE_BINS; i++)
        ret[i] /= (double)n;
    qd_free(bins);
    qd_histogram_done(&histogram);
}

START_TEST(test_bins_are_the_calibrations)
{
    static float x[60000];
    double live[QD_LIVE_BINS], report[QD_LIVE_BINS];
    float lows[] = {-30, -28.5F, -20, -40.5F};

    for (int i = 0; i < 60000; i++)
        x[i] = i % 5 ? random_float() * exp2f(random_float() * 60) : 0;
    for (size_t l = 0; l < QD_ARRAY_SIZE(lows); l++) {
        qd_live_shares(x, 60000, 1, lows[l], live);
        report_shares(x, 60000, lows[l], report);
        for (int i = 0; i < QD_LIVE_BINS; i++)
            ck_assert_double_eq_tol(live[i], report[i], 1e-9);
    }
    ck_assert_double_eq_tol(live[0], 0.2, 1e-9);
    qd_live_shares(x, 12000, 5, lows[0], live); /* just the zeros */
    ck_assert_double_eq_tol(live[0], 1, 1e-9);
}
END_TEST

START_TEST(test_clipping)
{
    const float steps[2] = {1, 2};
    /* Levels -10 .. 245, and of the second channel twice as far; half a level more rounds to the last one. */
    const float x[8] = {-10.4F, -10.6F, 245.4F, 245.6F, -20.8F, -21.2F, 490.8F, 491.2F};
    struct qd_value value = {.shape = {.n_dims = 4, .dims = {1, 2, 2, 2}},
                             .q = {.scale = 1, .zero_point = 10, .bits = 8},
                             .channel_steps = steps};

    ck_assert_int_eq((int)qd_clipped_count(&value, x), 4);
    value.channel_steps = NULL;
    ck_assert_int_eq((int)qd_clipped_count(&value, x), 6);
    value.q = (struct qd_qparams){.scale = 1, .zero_point = 0, .bits = 4}; /* 0 .. 15 */
    ck_assert_int_eq((int)qd_clipped_count(&value, x), 8);
}
END_TEST

static bool always(const void *context)
{
    (void)context;
    return true;
}

/* Until it was asked as often as *context says. */
static bool for_a_while(const void *context)
{
    int *left = (int *)(uintptr_t)context;

    return (*left)-- > 0;
}

/* A convolution, its ReLU and means as classes. Returns the ReLU's value; both plans and a frame of fp32. */
static int make_network(struct qd_plan **f32, struct qd_plan **int8, struct qd_frame **frame, const uint8_t *pixels)
{
    struct qd_plan_options options = {
        .precision = QD_PRECISION_F32, .max_batch = 1, .kernels = qd_kernels_of(QD_ISA_SCALAR), .keep_all = true};
    int r;

    begin(shape4(3, 10, 10));
    r = node("Conv", "c", (int[]){graph->inputs[0], constant("w", (struct qd_shape){4, {6, 3, 1, 1}}, 1)}, 2, NULL, 0);
    r = node1("Relu", "r", r);
    end(node1("Flatten", "flat", node1("GlobalAveragePool", "mean", r)));
    ck_assert_ok(qd_plan_new(graph, &options, f32, &err), &err);
    ck_assert_ok(qd_frame_new(*f32, 1, frame, &err), &err);
    memcpy(qd_frame_input(*frame, 0), pixels, 300);
    qd_frame_run(*frame, 1, 1);
    scales_from(*frame, 1);
    graph->values[r].q.scale *= 0.75F; /* so that something clips */
    options.precision = QD_PRECISION_Q8;
    ck_assert_ok(qd_plan_new(graph, &options, int8, &err), &err);
    return r;
}

static void free_network(struct qd_live *live, struct qd_frame *frame, struct qd_plan *f32, struct qd_plan *int8)
{
    qd_live_free(live);
    qd_frame_free(frame);
    qd_plan_free(f32);
    qd_plan_free(int8);
    qd_graph_free(graph);
}

/* Its calibration knew the first of two pictures. */
START_TEST(test_network)
{
    uint8_t pixels[2][300];
    double shares[QD_LIVE_BINS];
    struct qd_value_scale scale = {.name = (char[]){"r"}, .clip_ratio = 0.25, .histogram_low = -20};
    struct qd_scales scales = {.values = &scale, .n_values = 1};
    struct qd_live_figures figures;
    struct qd_live_layer layer;
    struct qd_plan *f32, *int8;
    struct qd_frame *frame;
    struct qd_live *live;
    float answer[6], other[6];
    bool agrees = false;
    uint64_t n_clipped;
    int r, left = 1;

    for (int i = 0; i < 300; i++) {
        pixels[0][i] = (uint8_t)(i * 37);
        pixels[1][i] = (uint8_t)(i * 37 % 7);
    }
    r = make_network(&f32, &int8, &frame, pixels[0]);
    memcpy(answer, qd_frame_output(frame, 0, 0), sizeof(answer));
    for (int i = 0; i < 6; i++)
        other[i] = -answer[i];
    qd_live_shares(qd_frame_value_f32(frame, r, 0), 600, 1, scale.histogram_low, shares);
    for (int i = 0; i < QD_REPORT_BINS; i++)
        scale.histogram[i] = (uint32_t)rint(1e6 * shares[1 + i]);
    n_clipped = qd_clipped_count(&graph->values[r], qd_frame_value_f32(frame, r, 0));
    ck_assert_ok(qd_live_new(graph, &scales, int8, &live, &err), &err);
    qd_live_read(live, &figures);
    ck_assert(figures.n_images == 0 && isnan(figures.agreement) && isnan(figures.drift));
    ck_assert_int_eq(qd_live_n_layers(live), 1);
    ck_assert(!qd_live_add(live, pixels[0], answer, for_a_while, &left, &agrees));
    qd_live_read(live, &figures);
    ck_assert_int_eq(figures.n_images, 0);
    for (int i = 0; i < QD_DRIFT_FEWEST; i++) {
        qd_live_read(live, &figures);
        ck_assert(isnan(figures.drift));
        ck_assert(qd_live_add(live, pixels[0], i < 10 ? other : answer, always, NULL, &agrees));
        ck_assert(agrees == (i >= 10));
    }
    qd_live_read(live, &figures);
    qd_live_layer(live, 0, &layer);
    ck_assert_double_eq_tol(figures.agreement, 1 - 10.0 / QD_DRIFT_FEWEST, 1e-6);
    ck_assert(isfinite(figures.sqnr_db) && figures.drift < 1e-3);
    ck_assert_str_eq(layer.name, "r");
    ck_assert_double_eq_tol(layer.saturation, (double)n_clipped / 600, 1e-6);
    ck_assert(layer.saturation > 0 && layer.baseline == 0.25 && layer.drift == figures.drift);
    for (int i = 0; i < QD_DRIFT_WINDOW; i++)
        ck_assert(qd_live_add(live, pixels[1], answer, always, NULL, &agrees));
    qd_live_read(live, &figures);
    qd_live_layer(live, 0, &layer);
    ck_assert_double_gt(figures.drift, 0.25);
    ck_assert_double_gt(fabs(layer.saturation - (double)n_clipped / 600), 1e-3);
    free_network(live, frame, f32, int8);
}
END_TEST

/* Six values in a picture: fifty pictures are not many yet. */
START_TEST(test_few_values)
{
    uint8_t pixels[300] = {1, 2, 3};
    struct qd_value_scale scale = {.name = (char[]){"mean"}, .histogram_low = -20};
    struct qd_scales scales = {.values = &scale, .n_values = 1};
    struct qd_live_figures figures;
    struct qd_plan *f32, *int8;
    struct qd_frame *frame;
    struct qd_live *live;
    bool agrees;

    for (int i = 0; i < 10; i++)
        scale.histogram[30 + i] = 100000;
    make_network(&f32, &int8, &frame, pixels);
    ck_assert_ok(qd_live_new(graph, &scales, int8, &live, &err), &err);
    ck_assert_int_eq(qd_live_n_layers(live), 1);
    for (int n = 1; n <= QD_DRIFT_WINDOW; n++) {
        ck_assert(qd_live_add(live, pixels, qd_frame_output(frame, 0, 0), always, NULL, &agrees));
        qd_live_read(live, &figures);
        ck_assert_msg(isnan(figures.drift) == (n * 6 < QD_DRIFT_VALUES * 10), "after %d pictures", n);
    }
    free_network(live, frame, f32, int8);
}
END_TEST

QD_UNIT_MAIN("live", test_window, test_psi, test_classes, test_bins_are_the_calibrations, test_clipping, test_network,
             test_few_values)

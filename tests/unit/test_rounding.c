/* What adlq's stages are made of: factors, rounding of rows, constraints, and scales as JSON and back. */
#include <math.h>
#include <string.h>

#include "quant/linear.h"
#include "quant/method.h"
#include "quant/round_weights.h"
#include "quant/scales.h"
#include "tests/unit/unit.h"
#include "util/base64.h"

#define K 24

static uint32_t state = 12345;

static float draw(void)
{
    state = state * 1664525 + 1013904223;
    return (float)(state >> 8) / (1 << 24) * 2 - 1;
}

/* Second moments of correlated rows, full and symmetric. */
static void make_moments(float *a, int k)
{
    float x[64 * K];

    memset(a, 0, (size_t)k * (size_t)k * sizeof(*a));
    for (int p = 0; p < 64; p++) {
        float common = draw();

        for (int i = 0; i < k; i++)
            x[p * k + i] = draw() + 2 * common + 0.5f;
    }
    qd_moments_add(a, x, 64, k);
    for (int i = 0; i < k; i++)
        for (int j = 0; j < i; j++)
            a[j * k + i] = a[i * k + j];
}

static double error_of(const float *a, const float *w, const int8_t *q, float scale, int k)
{
    double error = 0;

    for (int i = 0; i < k; i++)
        for (int j = 0; j < k; j++)
            error += (double)a[i * k + j] * ((double)w[i] - (double)q[i] * (double)scale) *
                     ((double)w[j] - (double)q[j] * (double)scale);
    return error;
}

static void nearest(const float *w, int8_t *q, float scale, int limit, int k)
{
    for (int i = 0; i < k; i++)
        q[i] = (int8_t)fminf(fmaxf(rintf(w[i] / scale), (float)-limit), (float)limit);
}

START_TEST(test_moments_and_factor)
{
    float a[K * K], factor[K * K], x[5 * 3] = {1, 2, 3, 0, 0, 0, -1, 0, 2, 4, 1, 1, 2, 2, 2}, small[9] = {0};
    float singular[4] = {1, 1, 1, 1};

    qd_moments_add(small, x, 5, 3);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j <= i; j++) {
            float sum = 0;

            for (int p = 0; p < 5; p++)
                sum += x[p * 3 + i] * x[p * 3 + j];
            ck_assert_float_eq(small[i * 3 + j], sum);
        }
    make_moments(a, K);
    memcpy(factor, a, sizeof(a));
    ck_assert(qd_cholesky(factor, K));
    for (int i = 0; i < K; i++)
        for (int j = 0; j <= i; j++) {
            double sum = 0;

            for (int p = 0; p <= j; p++)
                sum += (double)factor[i * K + p] * (double)factor[j * K + p];
            ck_assert_double_eq_tol(sum, (double)a[i * K + j], 1e-4 * (double)a[i * K + i]);
        }
    ck_assert(!qd_cholesky(singular, 2));
}
END_TEST

/* The error that is returned is the error; over many rows far below that of rounding to nearest. */
START_TEST(test_rows)
{
    float a[K * K], factor[K * K], w[K], work[K];
    double rounded = 0, near = 0;
    int8_t q[K];

    for (int row = 0; row < 50; row++) {
        double returned, direct;

        make_moments(a, K);
        memcpy(factor, a, sizeof(a));
        ck_assert(qd_cholesky(factor, K));
        for (int i = 0; i < K; i++)
            w[i] = draw();
        returned = qd_round_row(factor, w, K, 0.25f, 3, q, work);
        direct = error_of(a, w, q, 0.25f, K);
        ck_assert_double_eq_tol(returned, direct, 1e-3 * direct);
        rounded += direct;
        for (int i = 0; i < K; i++)
            ck_assert(q[i] >= -3 && q[i] <= 3);
        nearest(w, q, 0.25f, 3, K);
        near += error_of(a, w, q, 0.25f, K);
    }
    ck_assert_double_lt(rounded, near / 3);
}
END_TEST

/* Against all 5^4 possibilities: never better than the best, and nearly always it. */
START_TEST(test_descent)
{
    int n_best = 0;

    for (int row = 0; row < 50; row++) {
        float a[16], w[4];
        int8_t q[4], p[4];
        double best = INFINITY, found;

        make_moments(a, 4);
        for (int i = 0; i < 4; i++)
            w[i] = draw();
        for (int i = 0; i < 625; i++) {
            double error;

            for (int j = 0, rest = i; j < 4; j++, rest /= 5)
                p[j] = (int8_t)(rest % 5 - 2);
            error = error_of(a, w, p, 0.5f, 4);
            best = error < best ? error : best;
        }
        nearest(w, q, 0.5f, 2, 4);
        found = qd_round_descent(a, w, 4, 0.5f, 2, q);
        ck_assert_double_eq_tol(found, error_of(a, w, q, 0.5f, 4), 1e-4 * (found + 1));
        ck_assert_double_ge(found, best * (1 - 1e-6) - 1e-9);
        n_best += found <= best * 1.0001 + 1e-6;
    }
    ck_assert_int_ge(n_best, 45);
}
END_TEST

static struct qd_layer_statistics layer_of(const float *w, float *moments, float *squares, int n, int k)
{
    struct qd_layer_statistics l = {
        .layer = {.group = 1, .c = k, .h = 1, .w = 1, .out_h = 1, .out_w = 1, .n = n, .weights = w},
        .k = k,
        .n_samples = 64,
        .moments = moments,
        .squares = squares};

    l.layer.window.kernel[0] = l.layer.window.kernel[1] = 1;
    for (int i = 0; i < k; i++)
        squares[i] = moments[i * k + i];
    return l;
}

/* Two rows of drawn weights over correlated inputs, to be rounded into q and scale. Points into itself. */
struct two_rows {
    float moments[K * K], squares[K], w[2 * K], scale[2];
    int8_t q[2 * K];
    struct qd_layer_statistics layer;
    struct qd_rounding r;
};

static void draw_rows(struct two_rows *rows, double input_scale)
{
    make_moments(rows->moments, K);
    for (int i = 0; i < 2 * K; i++)
        rows->w[i] = draw();
    rows->layer = layer_of(rows->w, rows->moments, rows->squares, 2, K);
    rows->r = (struct qd_rounding){
        .layer = &rows->layer, .input_scale = input_scale, .bits = 8, .q = rows->q, .scale = rows->scale};
}

/* Weights that lie on a lattice of 100 levels a side come back as they are; steps of the input go into them. */
START_TEST(test_lattice_and_steps)
{
    float steps[K];
    struct two_rows rows;
    struct qd_error err = {""};

    draw_rows(&rows, 0.01);
    rows.r.multiplier_bits = 24;
    for (int i = 0; i < 2 * K; i++)
        rows.w[i] = 0.013f * rintf(100 * rows.w[i]);
    rows.w[0] = rows.w[K] = 0.013f * 100;
    ck_assert_ok(qd_round_weights(&rows.r, &err), &err);
    for (int i = 0; i < 2 * K; i++)
        ck_assert_float_eq_tol((float)rows.q[i] * rows.scale[i / K], rows.w[i], 1e-5f);
    for (int i = 0; i < K; i++)
        steps[i] = i % 2 ? 0.5f : 1;
    rows.r.input_steps = steps;
    ck_assert_ok(qd_round_weights(&rows.r, &err), &err);
    for (int i = 0; i < 2 * K; i++)
        ck_assert_float_eq_tol((float)rows.q[i] * rows.scale[i / K], rows.w[i] * steps[i % K], 2 * rows.scale[i / K]);
}
END_TEST

/* With few multiplier bits every multiplier is exact. */
START_TEST(test_multipliers_fit)
{
    double units[2] = {0.037, 0.0021};
    struct two_rows rows;
    struct qd_error err = {""};

    draw_rows(&rows, 0.013);
    rows.r.output_units = units;
    for (rows.r.multiplier_bits = 1; rows.r.multiplier_bits <= 4; rows.r.multiplier_bits += 3) {
        ck_assert_ok(qd_round_weights(&rows.r, &err), &err);
        for (int o = 0; o < 2; o++) {
            int exponent;
            double fraction = frexp(rows.r.input_scale * (double)rows.scale[o] / units[o], &exponent);
            double m = ldexp(fraction, rows.r.multiplier_bits);

            ck_assert_double_eq_tol(m, rint(m), 1e-5);
        }
    }
}
END_TEST

/* Every scale one, as long as the outputs' units are; a unit over a slope, as HardSigmoid's, makes it over that too. */
START_TEST(test_powers_of_two)
{
    double units[2] = {0x1p-8 * 6, 0x1p-5};
    struct two_rows rows;
    struct qd_error err = {""};

    draw_rows(&rows, 0x1p-4);
    rows.r.power_of_two = true;
    for (int i = 0; i < 3; i++) {
        static const int bits[] = {1, 15, 24};

        rows.r.multiplier_bits = bits[i];
        rows.r.output_units = i < 2 ? units : NULL;
        ck_assert_ok(qd_round_weights(&rows.r, &err), &err);
        for (int o = 0; o < 2; o++) {
            double exponent = log2((double)rows.scale[o] / (rows.r.output_units && !o ? 6 : 1));

            ck_assert_double_eq_tol(exponent, rint(exponent), 1e-6);
        }
    }
}
END_TEST

START_TEST(test_constrain)
{
    struct qd_bin bin = {.low = -1, .high = 3, .n = 1000, .sum = 1000, .squares = 1000 * 7.0 / 3};
    const struct qd_bin *bins[] = {&bin};
    size_t n_bins[] = {1};
    struct qd_distribution d = {.bins = bins, .n_bins = n_bins, .n_tensors = 1, .min = -1, .max = 3};
    struct qd_calibration_form free_form = {8, 8, 24, false, false, false}, plain = {8, 8, 24, false, true, false};
    struct qd_qparams q = {4.0f / 255, 64, 8}, r = qd_constrain(&d, q, &free_form, false);

    ck_assert(r.scale == q.scale && r.zero_point == q.zero_point);
    r = qd_constrain(&d, q, &plain, false);
    ck_assert_int_eq(r.zero_point, 128);
    ck_assert_float_ge(r.scale, 3.0f / 127 * 0.9f);
    r = qd_constrain(&d, q, &free_form, true);
    ck_assert_float_eq(r.scale, 0x1p-6f);
    ck_assert(r.zero_point == 63 || r.zero_point == 64);
    d.min = 0;
    ck_assert_int_eq(qd_constrain(&d, (struct qd_qparams){0.01f, 0, 8}, &plain, true).zero_point, 0);
}
END_TEST

START_TEST(test_base64)
{
    uint8_t bytes[7] = {0, 255, 1, 128, 7, 9, 200}, back[7];
    struct qd_error err = {""};

    for (size_t n = 0; n <= 7; n++) {
        char *text = qd_base64_encode(bytes, n);

        ck_assert_ptr_nonnull(text);
        memset(back, 1, sizeof(back));
        ck_assert_ok(qd_base64_decode(text, strlen(text), back, n, &err), &err);
        ck_assert_mem_eq(back, bytes, n);
        ck_assert_int_eq(qd_base64_decode(text, strlen(text), back, n + 3, &err), QD_INVALID);
        qd_free(text);
        err.text[0] = 0;
    }
    ck_assert_int_eq(qd_base64_decode("!!!!", 4, back, 3, &err), QD_INVALID);
}
END_TEST

/* All that plans need comes back, to the bit; what is out of range is refused. */
START_TEST(test_scales_json)
{
    int8_t q[6] = {1, -2, 3, -127, 5, 127};
    float scale[2] = {0.1f, 1e-7f}, bias[2] = {-3.3f, 0}, steps[3] = {1, 0.3f, 0.01f};
    struct qd_value_scale value = {.name = (char[]){"t"}, .q = {0.3f, 7, 8}, .channel_steps = steps, .n_channels = 3};
    struct qd_layer_scale layer = {.name = (char[]){"l"},
                                   .n = 2,
                                   .k = 3,
                                   .macs = 6,
                                   .precision = QD_PRECISION_F32,
                                   .weights = {8, q, scale, bias}};
    struct qd_scales scales = {.method = "adlq",
                               .multiplier_bits = 15,
                               .values = &value,
                               .n_values = 1,
                               .layers = &layer,
                               .n_layers = 1},
                     *back;
    struct qd_error err = {""};
    json_t *json = qd_scales_to_json(&scales, true), *again, *list;

    ck_assert_ok(qd_scales_from_json(json, &back, &err), &err);
    ck_assert_mem_eq(back->layers[0].weights.q, q, sizeof(q));
    ck_assert_mem_eq(back->layers[0].weights.scale, scale, sizeof(scale));
    ck_assert_mem_eq(back->layers[0].weights.bias, bias, sizeof(bias));
    ck_assert_mem_eq(back->values[0].channel_steps, steps, sizeof(steps));
    ck_assert_int_eq(back->layers[0].precision, QD_PRECISION_F32);
    ck_assert_int_eq(back->multiplier_bits, 15);
    again = qd_scales_to_json(back, true);
    ck_assert(json_equal(json, again));
    qd_scales_free(back);
    list = json_object_get(again, "layer_weights");
    json_object_set_new(json_array_get(list, 0), "weight_bits", json_integer(4));
    ck_assert_int_eq(qd_scales_from_json(again, &back, &err), QD_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "beyond 4 bits"));
    json_decref(json);
    json_decref(again);
}
END_TEST

QD_UNIT_MAIN("rounding", test_moments_and_factor, test_rows, test_descent, test_lattice_and_steps, test_multipliers_fit,
             test_powers_of_two, test_constrain, test_base64, test_scales_json)

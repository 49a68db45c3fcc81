#include "quant/known_answers.h"

#include <string.h>

/* Large areas, slopes and noise: all levels of a pixel, in a fixed order. */
static void draw(uint8_t *pixels, int h, int w, int c)
{
    uint32_t noise = 1;

    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int i = 0; i < c; i++) {
                uint32_t wave = (uint32_t)(x * (5 + i) + y * 3 + (x / 16 + y / 16) % 2 * 90);

                noise = noise * 1664525u + 1013904223u;
                pixels[((size_t)y * (size_t)w + (size_t)x) * (size_t)c + (size_t)i] =
                    (uint8_t)(wave % 224 + (noise >> 27));
            }
}

static void hash_outputs(const struct qd_plan *plan, const struct qd_frame *frame, int image,
                         char ret_hex[QD_HASH_HEX_SIZE])
{
    const struct qd_graph *graph = qd_plan_graph(plan);
    struct qd_hasher hasher;
    struct qd_hash hash;

    qd_hasher_init(&hasher);
    for (int o = 0; o < graph->n_outputs; o++)
        qd_hasher_add(&hasher, qd_frame_output(frame, o, image),
                      (size_t)qd_plan_output_count(plan, o) *
                          qd_dtype_size(graph->values[graph->outputs[o]].dtype));
    hash = qd_hasher_finish(&hasher);
    qd_hash_hex(&hash, ret_hex);
}

static void draw_into(const struct qd_plan *plan, struct qd_frame *frame, int image)
{
    int h, w, c;

    qd_plan_input_size(plan, &h, &w, &c);
    draw(qd_frame_input(frame, image), h, w, c);
}

enum qd_status qd_known_answers_make(const struct qd_graph *graph, char ret_hex[QD_HASH_HEX_SIZE],
                                     struct qd_error *err)
{
    struct qd_plan_options options = {.precision = QD_PRECISION_Q8, .max_batch = 1};
    struct qd_frame *frame = NULL;
    struct qd_plan *plan = NULL;
    enum qd_status status = qd_kernels_named("scalar", &options.kernels, err);

    if (status == QD_OK)
        status = qd_plan_new(graph, &options, &plan, err);
    if (status == QD_OK)
        status = qd_frame_new(plan, 1, &frame, err);
    if (status == QD_OK) {
        draw_into(plan, frame, 0);
        qd_frame_run(frame, 1, 1);
        hash_outputs(plan, frame, 0, ret_hex);
    }
    qd_frame_free(frame);
    qd_plan_free(plan);
    return status == QD_OK ? QD_OK : qd_error_context(err, status, "known answers");
}

enum qd_status qd_known_answers_check(const struct qd_plan *plan, int n_threads, const char *hex, struct qd_error *err)
{
    int last = qd_plan_max_batch(plan) - 1;
    const int places[] = {0, last};
    char found[QD_HASH_HEX_SIZE];
    struct qd_frame *frame;
    enum qd_status status = qd_frame_new(plan, n_threads, &frame, err);

    if (status != QD_OK)
        return status;
    draw_into(plan, frame, 0);
    draw_into(plan, frame, last);
    qd_frame_run(frame, last + 1, n_threads);
    for (size_t i = 0; i < 2 && status == QD_OK; i++) {
        hash_outputs(plan, frame, places[i], found);
        if (strcmp(found, hex) != 0)
            status = qd_error_set(err, QD_CONFLICT,
                                  "known answers: the kernels '%s' on this machine give other bytes than those that "
                                  "the scales were made with (place %d of a batch)",
                                  qd_plan_kernels(plan)->name, places[i]);
    }
    qd_frame_free(frame);
    return status;
}

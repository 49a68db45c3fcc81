/*
 * Whole networks: the same picture gives the same SHA-256 of its outputs for every ISA that this CPU has, 1 to 4
 * threads, batches of 1 to 17, at every position. The bundled model always; those of the zoo where they are. Scalar
 * kernels, which are slow, run what they can in time: a large network picture by picture.
 */
#include <stdio.h>
#include <string.h>

#include "serve/model.h"
#include "tests/unit/unit.h"
#include "util/file.h"

#define MAX_BATCH 17
#define MAX_THREADS 4

/* How much of a network a test can run. */
struct network {
    const char *path; /* from the source folder */
    int n_pictures;   /* different ones, each run alone by every tier */
    bool all_scalar;  /* small: scalar in batches too */
    bool all_pairs;   /* small: every batch size with every number of threads, else one each */
};

static const struct network networks[] = {
    {"models/fashion-mnist", MAX_BATCH, true, true},
    {"../shared/zoo/models/resnet20_cifar10", MAX_BATCH, true, false},
    {"../shared/zoo/models/mlperf_tiny_resnet8_cifar10", MAX_BATCH, true, false},
    {"../shared/zoo/models/mobilenet_v1_0.75_224", 3, false, false},
    {"../shared/zoo/models/mobilenet_v2_1.0_224_tflite_qat", 3, false, false},
    {"../shared/zoo/models/mobilenet_v2_1.0_224_tflite_qat_qdq", 3, false, false},
    {"../shared/zoo/models/mobilenet_v3_small", 3, false, false},
    {"../shared/zoo/models/squeezenet1.1", 3, false, false},
    {"../shared/zoo/models/tiny_darknet", 3, false, false},
};

struct reference {
    const struct network *network;
    const struct qd_model *model;
    struct qd_hash want[MAX_BATCH]; /* by picture */
    bool known[MAX_BATCH];
};

/* Picture i: seeded noise over a gradient. */
static void fill_picture(uint8_t *pixels, size_t size, int i)
{
    uint32_t seed = (uint32_t)i + 1;

    for (size_t j = 0; j < size; j++) {
        seed = seed * 1664525 + 1013904223;
        pixels[j] = (uint8_t)((seed >> 25) + j * 128 / size);
    }
}

static struct qd_hash hash_outputs(const struct qd_frame *frame, const struct qd_plan *plan, int image)
{
    struct qd_hasher hasher;

    qd_hasher_init(&hasher);
    for (int i = 0; i < qd_plan_graph(plan)->n_outputs; i++)
        qd_hasher_add(&hasher, qd_frame_output(frame, i, image), (size_t)qd_plan_output_count(plan, i) * sizeof(float));
    return qd_hasher_finish(&hasher);
}

/* Pictures first, first + 1, ... in a batch of n. The first time that a picture runs it is alone, and says what is
 * right. */
static void check_batch(struct reference *reference, const struct qd_plan *plan, struct qd_frame *frame, int n,
                        int n_threads, int first)
{
    size_t size = qd_preprocess_bytes(&reference->model->config.preprocess);
    int n_pictures = reference->network->n_pictures;

    for (int i = 0; i < n; i++)
        fill_picture(qd_frame_input(frame, i), size, (first + i) % n_pictures);
    qd_frame_run(frame, n, n_threads);
    for (int i = 0; i < n; i++) {
        int picture = (first + i) % n_pictures;
        struct qd_hash found = hash_outputs(frame, plan, i);
        char hex[QD_HASH_HEX_SIZE], hex_want[QD_HASH_HEX_SIZE];

        if (!reference->known[picture]) {
            ck_assert_int_eq(n, 1);
            reference->want[picture] = found;
            reference->known[picture] = true;
        }
        qd_hash_hex(&found, hex);
        qd_hash_hex(&reference->want[picture], hex_want);
        ck_assert_msg(strcmp(hex, hex_want) == 0, "%s, %s, batch %d, position %d, %d threads: SHA-256 %s, alone %s",
                      reference->network->path, qd_plan_kernels(plan)->name, n, i, n_threads, hex, hex_want);
    }
}

static void check_tier(struct reference *reference, const struct qd_kernels *kernels)
{
    const struct network *network = reference->network;
    bool batches = network->all_scalar || kernels->isa != QD_ISA_SCALAR;
    struct qd_plan_options options = {
        .precision = QD_PRECISION_Q8, .max_batch = batches ? MAX_BATCH : 1, .kernels = kernels};
    struct qd_error err = {""};
    struct qd_frame *frame;
    struct qd_plan *plan;

    ck_assert_ok(qd_plan_new(reference->model->graph, &options, &plan, &err), &err);
    ck_assert_ok(qd_frame_new(plan, MAX_THREADS, &frame, &err), &err);
    for (int picture = 0; picture < network->n_pictures; picture++)
        check_batch(reference, plan, frame, 1, 1 + picture % MAX_THREADS, picture);
    for (int n = 1; n <= MAX_BATCH && batches; n++)
        for (int n_threads = 1; n_threads <= MAX_THREADS; n_threads++)
            if (network->all_pairs || n_threads == 1 + n % MAX_THREADS)
                check_batch(reference, plan, frame, n, n_threads, n);
    qd_frame_free(frame);
    qd_plan_free(plan);
}

static void check_network(const struct network *network)
{
    struct qd_model_options options = {
        .n_threads = 2,
        .max_batch = 1,
        .limits = {100000000},
        .max_images = 4,
        .allow_synthetic = true,
        .skipped_stages = ~0u << 3 /* weights and steps per channel are enough: the rest takes its time */};
    struct reference reference = {.network = network};
    struct qd_error err = {""};
    struct qd_model *model;
    char path[4096], tiers[64] = "";
    enum qd_status status;

    snprintf(path, sizeof(path), "%s/%s", getenv("QD_SRC") ? getenv("QD_SRC") : ".", network->path);
    if (!qd_is_folder(path)) {
        printf("# %s is not there: not covered\n", network->path);
        return;
    }
    ck_assert_ok(qd_kernels_init(&options.kernels, &err), &err);
    status = qd_model_load(path, &options, &model, &err);
    if (status == QD_UNSUPPORTED) {
        printf("# %s is not supported: not covered: %s\n", network->path, err.text);
        return;
    }
    ck_assert_msg(status == QD_OK, "%s", err.text);
    reference.model = model;
    for (int isa = 0; isa < QD_N_ISA; isa++)
        if (qd_kernels_of((enum qd_isa)isa))
            check_tier(&reference, qd_kernels_of((enum qd_isa)isa));
    printf("# %s: %d pictures, tiers %s\n", network->path, network->n_pictures,
           qd_isa_list(tiers, sizeof(tiers), true));
    qd_model_unref(model);
}

START_TEST(test_network)
{
    check_network(&networks[_i]);
    fflush(stdout);
}
END_TEST

QD_UNIT_LOOP_MAIN("same_bytes", test_network, QD_ARRAY_SIZE(networks))

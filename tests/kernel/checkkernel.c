/*
 * checkkernel: every kernel of every tier that this CPU has against scalar, byte for byte, and scalar against a naive
 * reference. After dav1d's checkasm. TAP on stdout; the seed and the tiers covered are printed.
 *
 *   checkkernel [--seed N] [--iterations N]    checks; N problems per kernel and tier
 *   checkkernel --bench                        what each tier reaches instead
 *
 * Where the CPU has VNNI, the AVX-VNNI source is checked in another encoding and the AMX source over tiles in C as
 * well. Built with CHECK_EMULATED it checks, instead of the CPU's tiers, the AVX-VNNI, VNNI and AMX sources compiled
 * over emulations in C: what they compute is then proven on CPUs that lack it, how the compiler translates them is not.
 */
#include "tests/kernel/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "util/mem.h"

#ifdef CHECK_EMULATED
#define DEFAULT_ITERATIONS 1000
#else
#define DEFAULT_ITERATIONS 3000
#endif

struct named_check {
    const char *name;
    check_function *run;
};

static const struct named_check checks[] = {
    {"conv", check_conv},
    {"conv to float", check_conv_f32},
    {"depthwise", check_depthwise},
    {"affine", check_affine},
#ifndef CHECK_EMULATED
    {"add", check_add},
    {"mul", check_mul},
    {"max_pool", check_max_pool},
    {"average_pool", check_average_pool},
    {"sum_rows", check_sum_rows},
    {"shuffle", check_shuffle},
    {"lookup", check_lookup},
    {"quantize", check_quantize},
    {"dequantize", check_dequantize},
    {"float conv", check_float_conv},
    {"float depthwise", check_float_depthwise},
    {"float max_pool", check_float_max_pool},
    {"float matvec", check_float_matvec},
    {"float activate", check_float_activate},
    {"float conv on blocks", check_blocks_conv},
    {"float depthwise on blocks", check_blocks_depthwise},
    {"float max_pool on blocks", check_blocks_max_pool},
    {"float order of blocks", check_blocks_order},
#endif
};

static int n_tests;

static void run_check(const struct named_check *named, const struct qd_kernels *tested, const struct qd_kernels *base,
                      uint64_t seed, int n_iterations)
{
    struct check check = {.base = base, .tested = tested};
    bool same = true;

    for (int i = 0; i < n_iterations && same; i++) {
        check.random_state = seed + (uint64_t)i * 1000003;
        check.iteration = i;
        same = named->run(&check);
        check_free(&check);
        if (!same)
            printf("# seed %llu, iteration %d\n", (unsigned long long)seed, i);
    }
    printf("%s %d - %s %s is %s, byte for byte\n", same ? "ok" : "not ok", ++n_tests, tested->name, named->name,
           base->name);
}

#ifndef CHECK_EMULATED
static void check_override(const char *value, enum qd_status expected, const char *expected_text)
{
    const struct qd_kernels *kernels = NULL;
    struct qd_error err = {""};
    bool right;

    setenv("QUANTD_ISA", value, 1);
    right = qd_kernels_init(&kernels, &err) == expected && strstr(err.text, expected_text) &&
            (kernels != NULL) == (expected == QD_OK) && (!kernels || !value[0] || strcmp(kernels->name, value) == 0);
    printf("%s %d - QUANTD_ISA='%s': %s\n", right ? "ok" : "not ok", ++n_tests, value, qd_status_name(expected));
    if (!right)
        printf("# found: %s\n", err.text);
    unsetenv("QUANTD_ISA");
}

static void check_overrides(void)
{
    check_override("scalar", QD_OK, "");
    check_override("", QD_OK, "");
    check_override("avx9", QD_INVALID, "expected");
    for (int isa = QD_ISA_SCALAR + 1; isa < QD_N_ISA; isa++) {
        bool present = qd_kernels_of((enum qd_isa)isa) != NULL;

        check_override(qd_isa_name((enum qd_isa)isa), present ? QD_OK : QD_UNSUPPORTED, present ? "" : "this CPU");
    }
}
#define N_OVERRIDES (3 + QD_N_ISA - 1)
#else
static void check_overrides(void)
{
}
#define N_OVERRIDES 0
#endif

static size_t n_checks_of(const struct check_tier *tier)
{
    return tier->n_checks < QD_ARRAY_SIZE(checks) ? tier->n_checks : QD_ARRAY_SIZE(checks);
}

static void run_tiers(uint64_t seed, int n_iterations)
{
    const struct check_tier *tiers;
    size_t n_tiers = check_tiers(&tiers), planned = N_OVERRIDES;

    printf("# tiers covered:");
    for (size_t i = 0; i < n_tiers; i++) {
        printf("%s %s", i ? "," : "", tiers[i].name);
        if (!tiers[i].kernels)
            printf(" (NOT: %s)", tiers[i].missing);
        planned += n_checks_of(&tiers[i]);
    }
    printf("\n1..%zu\n", planned);
    for (size_t i = 0; i < n_tiers; i++) {
        for (size_t j = 0; j < n_checks_of(&tiers[i]); j++) {
            if (tiers[i].kernels)
                run_check(&checks[j], tiers[i].kernels, tiers[i].base, seed, n_iterations);
            else
                printf("ok %d - %s %s # SKIP %s\n", ++n_tests, tiers[i].name, checks[j].name, tiers[i].missing);
        }
    }
    check_overrides();
}

int main(int argc, char **argv)
{
    uint64_t seed = (uint64_t)time(NULL);
    int n_iterations = DEFAULT_ITERATIONS;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            seed = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--iterations") == 0 && i + 1 < argc) {
            n_iterations = atoi(argv[++i]);
#ifndef CHECK_EMULATED
        } else if (strcmp(argv[i], "--bench") == 0) {
            check_bench();
            return EXIT_SUCCESS;
#endif
        } else {
            fprintf(stderr, "usage: checkkernel [--seed N] [--iterations N] [--bench]\n");
            return EXIT_FAILURE;
        }
    }
    printf("# seed %llu, %d problems per kernel and tier\n", (unsigned long long)seed, n_iterations);
    run_tiers(seed, n_iterations);
    return EXIT_SUCCESS; /* the TAP driver counts the results */
}

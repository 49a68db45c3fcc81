/*
 * What the kernel checks share: random problems, and outputs in two copies that a base and a tested kernel fill.
 *
 * Inputs start at any address and end in QD_KERNEL_SLACK random bytes and nothing more, so that AddressSanitizer sees a
 * read past the slack. Outputs lie between guard bytes and are compared with them and with the gaps between their rows.
 * All memory belongs to the struct check and lives for one problem. One thread.
 */
#ifndef QD_TESTS_KERNEL_CHECK_H
#define QD_TESTS_KERNEL_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/kernel.h"

#define CHECK_MAX_BUFFERS 32

struct check {
    uint64_t random_state;
    const struct qd_kernels *base, *tested;
    int iteration; /* of this kernel and tier: the first ones go through the small sizes in turn */
    void *memory[CHECK_MAX_BUFFERS];
    int n_memory;
};

struct check_output {
    uint8_t *base, *tested;
    size_t size; /* without guards */
};

/* One random problem, run by base and tested. False: they differ; what differs has been printed. */
typedef bool check_function(struct check *check);

check_function check_conv, check_conv_f32, check_depthwise, check_add, check_mul, check_affine, check_max_pool,
    check_average_pool, check_sum_rows, check_shuffle, check_lookup, check_quantize, check_dequantize, check_float_conv,
    check_float_depthwise, check_float_matvec, check_float_activate, check_float_max_pool, check_blocks_conv,
    check_blocks_depthwise, check_blocks_max_pool, check_blocks_order;

/* The definition of every kernel, naively: sums in 64 bits, no fmaf. */
extern const struct qd_kernels check_reference;

/* What is checked against base. */
struct check_tier {
    const struct qd_kernels *kernels; /* NULL: cannot run here, for the reason missing */
    const struct qd_kernels *base;
    const char *name, *missing;
    size_t n_checks; /* the first checks only, at most */
    bool benched;
};

/* All there are; static. Returns how many. */
size_t check_tiers(const struct check_tier **ret);

uint64_t check_random(struct check *check);
/* low .. high, both included. */
int check_between(struct check *check, int low, int high);
float check_real(struct check *check, float low, float high);
/* True once in n. */
bool check_chance(struct check *check, int n);
/* A size: mostly 1 .. small, which the first iterations go through in turn; now and then up to big. */
int check_size(struct check *check, int small, int big);

/* n reals, no slack after them: float kernels read nothing past an end. Now and then tiny, so that products underflow.
 */
float *check_floats(struct check *check, int n);
struct qd_activation check_activation(struct check *check);
/*
 * A window over p's picture, and the output's size. Usual ones, and any other: even, long, further apart than they are
 * long, with padding in front or behind alone.
 */
void check_window(struct check *check, struct qd_conv_f32_params *p);

/* size random bytes (elements of element bytes are aligned to themselves). */
void *check_input(struct check *check, size_t size, size_t element);
/* The same, as activations: now and then all 0 or all 255. */
uint8_t *check_activations(struct check *check, size_t size);
/* Weights in [-127, 127]: now and then all at one end. */
int8_t *check_weights(struct check *check, size_t size);
void check_output(struct check *check, size_t size, size_t element, struct check_output *ret);
/* Two equal copies with their guards. what, and the format's arguments, describe the problem if they are not. */
bool check_same(const struct check *check, const struct check_output *output, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void check_free(struct check *check);

/* Steps of n images of h x w pixels of size bytes, with random gaps. Returns the bytes of all of them. */
size_t check_steps(struct check *check, int size, int h, int w, int n_images, struct qd_steps *ret);

/* Random requantisation of n channels, sums of up to max_sum in magnitude: values in range, exact ties, or far out. */
void check_requant(struct check *check, int n, int64_t max_sum, struct qd_requant *ret);
void check_clamp(struct check *check, uint8_t *ret_min, uint8_t *ret_max);

/* Prints what each tier's kernels reach on this machine. */
void check_bench(void);

#endif

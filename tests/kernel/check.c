#include "tests/kernel/check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUARD 128

/* splitmix64 */
uint64_t check_random(struct check *check)
{
    uint64_t z = check->random_state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int check_between(struct check *check, int low, int high)
{
    return low + (int)(check_random(check) % (uint64_t)((int64_t)high - low + 1));
}

float check_real(struct check *check, float low, float high)
{
    return low + (high - low) * (float)(check_random(check) >> 40) / (float)(1 << 24);
}

bool check_chance(struct check *check, int n)
{
    return check_random(check) % (uint64_t)n == 0;
}

int check_size(struct check *check, int small, int big)
{
    if (check->iteration < small)
        return check->iteration + 1;
    return check_chance(check, 40) ? check_between(check, small, big) : check_between(check, 1, small);
}

static void *allocate(struct check *check, size_t size)
{
    void *memory = malloc(size);

    if (!memory || check->n_memory == CHECK_MAX_BUFFERS) {
        fprintf(stderr, "checkkernel: no memory for %zu bytes\n", size);
        exit(EXIT_FAILURE);
    }
    check->memory[check->n_memory++] = memory;
    return memory;
}

static void fill(struct check *check, uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(check_random(check) >> 56);
}

static size_t random_offset(struct check *check, size_t element)
{
    return (size_t)check_between(check, 0, 63) / element * element;
}

void *check_input(struct check *check, size_t size, size_t element)
{
    size_t offset = random_offset(check, element);
    uint8_t *memory = allocate(check, offset + size + QD_KERNEL_SLACK);

    fill(check, memory, offset + size + QD_KERNEL_SLACK);
    return memory + offset;
}

uint8_t *check_activations(struct check *check, size_t size)
{
    uint8_t *bytes = check_input(check, size, 1);

    if (check_chance(check, 8))
        memset(bytes, check_chance(check, 2) ? 0 : 255, size);
    return bytes;
}

int8_t *check_weights(struct check *check, size_t size)
{
    int8_t *weights = check_input(check, size, 1);

    for (size_t i = 0; i < size; i++)
        weights[i] = weights[i] == -128 ? -127 : weights[i];
    if (check_chance(check, 8))
        memset(weights, check_chance(check, 2) ? -127 : 127, size);
    return weights;
}

void check_output(struct check *check, size_t size, size_t element, struct check_output *ret)
{
    size_t offset = GUARD + random_offset(check, element), total = offset + size + GUARD;
    uint8_t *base = allocate(check, total), *tested = allocate(check, total);

    fill(check, base, total);
    memcpy(tested, base, total);
    ret->base = base + offset;
    ret->tested = tested + offset;
    ret->size = size;
}

bool check_same(const struct check *check, const struct check_output *output, const char *format, ...)
{
    const uint8_t *base = output->base - GUARD, *tested = output->tested - GUARD;
    size_t total = output->size + 2 * GUARD, i = 0;
    va_list args;

    if (memcmp(base, tested, total) == 0)
        return true;
    while (base[i] == tested[i])
        i++;
    printf("# %s differs from %s at byte %td of %zu (outside: a guard): expected %d, found %d\n# problem: ",
           check->tested->name, check->base->name, (ptrdiff_t)i - GUARD, output->size, base[i], tested[i]);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    return false;
}

void check_free(struct check *check)
{
    while (check->n_memory > 0)
        free(check->memory[--check->n_memory]);
}

void check_clamp(struct check *check, uint8_t *ret_min, uint8_t *ret_max)
{
    bool narrow = check_chance(check, 3);

    *ret_min = narrow ? (uint8_t)check_between(check, 0, 255) : 0;
    *ret_max = narrow ? (uint8_t)check_between(check, *ret_min, 255) : 255;
}

/* Cubics that stay within bytes for small t, mostly; lines at both ends, but for one time in eight. */
static const struct qd_piecewise *random_piecewise(struct check *check)
{
    struct qd_piecewise *p = check_input(check, sizeof(*p), sizeof(float));

    p->scale = check_chance(check, 3) ? 0.125f : check_real(check, 0.001f, 0.3f);
    p->first = QD_PIECEWISE_FIRST + (float)check_between(check, -15, 30);
    for (int s = 0; s < 16; s++) {
        bool line = (s == 0 || s == 15) && !check_chance(check, 8);

        p->c[0][s] = check_real(check, -50, 300);
        p->c[1][s] = check_real(check, -1, 1);
        p->c[2][s] = line ? 0 : check_real(check, -0.01f, 0.01f);
        p->c[3][s] = line ? 0 : check_real(check, -0.0001f, 0.0001f);
    }
    return p;
}

void check_requant(struct check *check, int n, int64_t max_sum, struct qd_requant *ret)
{
    float *mult = check_input(check, (size_t)n * sizeof(float), sizeof(float));
    float *offset = check_input(check, (size_t)n * sizeof(float), sizeof(float));
    float *slope = check_input(check, (size_t)n * sizeof(float), sizeof(float));
    int kind = check_between(check, 0, 3);

    memset(ret, 0, sizeof(*ret));
    for (int i = 0; i < n; i++) {
        if (kind == 0) { /* exact ties: eighths and halves of steps */
            mult[i] = ldexpf(1, -check_between(check, 1, 3));
            offset[i] = (float)check_between(check, -2000, 2000) / 2;
        } else if (kind == 1) { /* as large as the contract allows */
            mult[i] = check_real(check, -1, 1) * (float)(1 << 29) / (float)max_sum;
            offset[i] = check_real(check, -1, 1) * (float)(1 << 28);
        } else {
            mult[i] = check_real(check, 100, 2000) / (float)max_sum;
            offset[i] = check_real(check, -300, 500);
        }
    }
    ret->mult = mult;
    ret->offset = offset;
    ret->slope = slope;
    ret->residual_mult = check_chance(check, 2) ? 0.5f : check_real(check, 0, 3);
    ret->act = (enum qd_requant_act)check_between(check, QD_REQUANT_LINEAR, QD_REQUANT_PIECEWISE_STEPS);
    if (ret->act == QD_REQUANT_PIECEWISE || ret->act == QD_REQUANT_PIECEWISE_STEPS)
        ret->piecewise = random_piecewise(check);
    if (ret->act != QD_REQUANT_LINEAR && ret->act != QD_REQUANT_PIECEWISE) {
        for (int i = 0; i < n; i++)
            slope[i] = check_chance(check, 3) ? 0.125f : check_real(check, 0, 0.3f);
        ret->zero = (float)check_between(check, 0, 255);
    }
    check_clamp(check, &ret->clamp_min, &ret->clamp_max);
}

static int gap(struct check *check)
{
    return check_chance(check, 2) ? 0 : check_between(check, 1, 40);
}

size_t check_steps(struct check *check, int size, int h, int w, int n_images, struct qd_steps *ret)
{
    ret->x = size + gap(check);
    ret->y = ret->x * w + gap(check);
    ret->image = ret->y * h + gap(check);
    return (size_t)((n_images - 1) * ret->image + (h - 1) * ret->y + (w - 1) * ret->x + size);
}

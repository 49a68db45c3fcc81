#include "util/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE_SIZE ((size_t)2 << 20)

static atomic_long n_allocations;
static atomic_long fail_after = -1;

long qd_alloc_fail_after(long n)
{
    atomic_store(&fail_after, n);
    return atomic_exchange(&n_allocations, 0);
}

/* True when a test asked for this allocation to fail. */
static int must_fail(void)
{
    long count = atomic_fetch_add(&n_allocations, 1);
    long limit = atomic_load(&fail_after);

    return limit >= 0 && count >= limit;
}

/* Large memory in huge pages: weights of tens of megabytes cost a page fault, and later a TLB entry, per page. */
static void advise(void *memory, size_t size)
{
#ifdef MADV_HUGEPAGE
    uintptr_t page = HUGE_PAGE_SIZE, first = ((uintptr_t)memory + page - 1) / page * page;

    if (size >= 2 * HUGE_PAGE_SIZE)
        (void)madvise((void *)first, ((uintptr_t)memory + size - first) / page * page, MADV_HUGEPAGE);
#else
    (void)memory;
    (void)size;
#endif
}

/*
 * From calloc, because it knows which memory is fresh from the system, zero already, and stays untouched until it is
 * used; where that begins stands right in front of what the caller gets.
 */
void *qd_alloc(size_t size)
{
    size_t rounded;
    uint8_t *base;
    void *memory;

    if (must_fail() || size > SIZE_MAX - 2 * QD_ALIGNMENT)
        return NULL;
    rounded = (size + QD_ALIGNMENT - 1) / QD_ALIGNMENT * QD_ALIGNMENT;
    if (!rounded)
        rounded = QD_ALIGNMENT;
    base = calloc(1, rounded + QD_ALIGNMENT);
    if (!base)
        return NULL;
    memory = base + QD_ALIGNMENT - (uintptr_t)base % QD_ALIGNMENT;
    ((void **)memory)[-1] = base;
    advise(memory, rounded);
    return memory;
}

void *qd_alloc_array(size_t n, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(n, size, &bytes))
        return NULL;
    return qd_alloc(bytes);
}

enum qd_status qd_alloc_for(void **ret, size_t n, size_t size, const char *purpose, struct qd_error *err)
{
    void *memory = qd_alloc_array(n, size);

    if (!memory)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for %s: %zu x %zu bytes", purpose, n, size);
    *ret = memory;
    return QD_OK;
}

enum qd_status qd_grow(void **array, size_t *capacity, size_t n_wanted, size_t size, struct qd_error *err)
{
    size_t n = *capacity;
    void *memory = NULL;
    enum qd_status status;

    if (n_wanted <= n)
        return QD_OK;
    if (n < 16)
        n = 16;
    while (n < n_wanted)
        n = n > SIZE_MAX / 2 ? n_wanted : n * 2;
    status = qd_alloc_for(&memory, n, size, "a growing array", err);
    if (status != QD_OK)
        return status;
    if (*array)
        memcpy(memory, *array, *capacity * size);
    qd_free(*array);
    *array = memory;
    *capacity = n;
    return QD_OK;
}

char *qd_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = qd_alloc(size);

    if (copy)
        memcpy(copy, text, size);
    return copy;
}

void qd_free(void *memory)
{
    if (memory)
        free(((void **)memory)[-1]);
}

#define ARENA_BLOCK_SIZE (64 * 1024)

struct qd_arena_block {
    struct qd_arena_block *next;
    size_t used;
    size_t size;
    _Alignas(QD_ALIGNMENT) unsigned char bytes[];
};

void *qd_arena_alloc(struct qd_arena *arena, size_t size)
{
    struct qd_arena_block *block = arena->blocks;
    size_t rounded, block_size;
    void *memory;

    if (size > SIZE_MAX / 2)
        return NULL;
    rounded = (size + QD_ALIGNMENT - 1) / QD_ALIGNMENT * QD_ALIGNMENT;
    if (arena->limit_bytes && (rounded > arena->limit_bytes || arena->used_bytes > arena->limit_bytes - rounded))
        return NULL;
    if (!block || block->size - block->used < rounded) {
        block_size = rounded > ARENA_BLOCK_SIZE ? rounded : ARENA_BLOCK_SIZE;
        block = qd_alloc(sizeof(*block) + block_size);
        if (!block)
            return NULL;
        block->size = block_size;
        block->next = arena->blocks;
        arena->blocks = block;
    }
    memory = block->bytes + block->used;
    block->used += rounded;
    arena->used_bytes += rounded;
    return memory;
}

void *qd_arena_array(struct qd_arena *arena, size_t n, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(n, size, &bytes))
        return NULL;
    return qd_arena_alloc(arena, bytes);
}

char *qd_arena_strdup(struct qd_arena *arena, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = qd_arena_alloc(arena, size);

    if (copy)
        memcpy(copy, text, size);
    return copy;
}

void qd_arena_done(struct qd_arena *arena)
{
    struct qd_arena_block *block = arena->blocks;

    while (block) {
        struct qd_arena_block *next = block->next;

        qd_free(block);
        block = next;
    }
    memset(arena, 0, sizeof(*arena));
}

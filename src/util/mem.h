/*
 * Memory: every allocation of quantd goes through here, is zeroed, checked for overflow and aligned to 64 bytes.
 *
 * Ownership: qd_alloc and friends give memory that qd_free takes back. An arena owns all that was taken from it until
 * qd_arena_done. Threads: qd_alloc may be called from any; an arena belongs to one thread at a time.
 */
#ifndef QD_UTIL_MEM_H
#define QD_UTIL_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "util/status.h"

#define QD_ALIGNMENT 64
#define QD_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* size zeroed bytes, 64-byte aligned; NULL when there are none left. Size 0 gives a valid pointer. */
void *qd_alloc(size_t size);

/* n elements of size bytes; NULL also when the product overflows. */
void *qd_alloc_array(size_t n, size_t size);

/* As qd_alloc, with status and a text that says what the memory was for: *ret is untouched on failure. */
enum qd_status qd_alloc_for(void **ret, size_t n, size_t size, const char *purpose, struct qd_error *err);

/* Grows *array (n_used elements of size bytes are kept) so that it holds at least n_wanted; *capacity is updated. */
enum qd_status qd_grow(void **array, size_t *capacity, size_t n_wanted, size_t size, struct qd_error *err);

char *qd_strdup(const char *text);
void qd_free(void *memory);

/*
 * For tests of failure: after n more successful allocations each one fails, until n is set to -1 again (the default:
 * never). Returns the number of allocations since the last call.
 */
long qd_alloc_fail_after(long n);

struct qd_arena_block;

/* Many small objects with one lifetime. A zeroed struct is an empty arena. */
struct qd_arena {
    struct qd_arena_block *blocks;
    size_t used_bytes;
    size_t limit_bytes; /* 0: none */
};

/* size zeroed bytes, 64-byte aligned, or NULL (no memory, or past limit_bytes). */
void *qd_arena_alloc(struct qd_arena *arena, size_t size);
void *qd_arena_array(struct qd_arena *arena, size_t n, size_t size);
char *qd_arena_strdup(struct qd_arena *arena, const char *text);
void qd_arena_done(struct qd_arena *arena);

#endif

/*
 * The generations of a model's scales: which calibrations there were, which one serves. Kept beside the scale cache, so
 * that a restart serves what served before it: a small file BASE.generations.json that names them, and a cache entry
 * BASE.gN.json with the scales of each. BASE is a key of what the model is by itself (file, preprocessing, settings and
 * pictures of its own): where that changes, the generations are another model's. Plain data; one thread at a time.
 */
#ifndef QD_QUANT_GENERATIONS_H
#define QD_QUANT_GENERATIONS_H

#include "quant/scales.h"
#include "util/hash.h"

/* The one that serves and two before it. */
#define QD_MAX_GENERATIONS 3
#define QD_GENERATION_KEY_SIZE (QD_HASH_HEX_SIZE + 16)

struct qd_generation {
    int number; /* from 1 up; never given twice */
    char method[32];
    int64_t made_unix_us;
};

/* A zeroed struct is no generation at all. */
struct qd_generations {
    int current; /* the number of the one that serves, 0: none is kept */
    int last;    /* the largest number ever given */
    int n;
    struct qd_generation list[QD_MAX_GENERATIONS]; /* in the order in which they came to serve */
};

/* QD_NOT_FOUND: none are kept. QD_INVALID and others: a damaged file; the text says how. */
enum qd_status qd_generations_load(const char *folder, const char *base_hex, struct qd_generations *ret,
                                   struct qd_error *err);

/* The name of the cache entry that holds the scales of one. */
void qd_generation_key(const char *base_hex, int number, char ret_key[QD_GENERATION_KEY_SIZE]);

/* The place in the list of a number, or -1. */
int qd_generations_find(const struct qd_generations *generations, int number);

/*
 * Writes the scales as a new generation, which becomes the current one; what had been rolled back from and what is
 * older than two generations is forgotten. The scales reach the disk before the file that names them does: whatever
 * happens, that file names whole entries. On failure *generations is as before.
 */
enum qd_status qd_generations_add(const char *folder, const char *base_hex, const struct qd_generation *generation,
                                  const struct qd_scales *scales, struct qd_generations *generations,
                                  struct qd_error *err);

/* Makes one of the list the current one, on disk too. On failure *generations is as before. */
enum qd_status qd_generations_choose(const char *folder, const char *base_hex, int number,
                                     struct qd_generations *generations, struct qd_error *err);

#endif

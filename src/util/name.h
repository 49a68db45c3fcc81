/* Names that people type: the nearest known one, for an error that helps. */
#ifndef QD_UTIL_NAME_H
#define QD_UTIL_NAME_H

#include <stddef.h>

/* The entry of names nearest to typed by edit distance, or NULL when none is within a third of its length (at least 2). */
const char *qd_nearest_name(const char *typed, const char *const *names, size_t n_names);

#endif

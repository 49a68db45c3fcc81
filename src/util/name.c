#include "util/name.h"

#include <string.h>

#define NAME_MAX_LENGTH 63

/* Levenshtein's distance, one row at a time. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_MAX_LENGTH + 1];
    size_t n_a = strnlen(a, NAME_MAX_LENGTH), n_b = strnlen(b, NAME_MAX_LENGTH);

    for (size_t j = 0; j <= n_b; j++)
        row[j] = j;
    for (size_t i = 1; i <= n_a; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n_b];
}

const char *qd_nearest_name(const char *typed, const char *const *names, size_t n_names)
{
    size_t limit = strnlen(typed, NAME_MAX_LENGTH) / 3, best = (size_t)-1;
    const char *nearest = NULL;

    if (limit < 2)
        limit = 2;
    for (size_t i = 0; i < n_names; i++) {
        size_t d = distance(typed, names[i]);

        if (d <= limit && d < best) {
            best = d;
            nearest = names[i];
        }
    }
    return nearest;
}

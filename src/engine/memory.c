#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"

static int by_first_step(const void *a, const void *b)
{
    const struct qd_place *x = *(struct qd_place *const *)a, *y = *(struct qd_place *const *)b;

    if (x->first_step != y->first_step)
        return x->first_step < y->first_step ? -1 : 1;
    return x->size > y->size ? -1 : x->size < y->size;
}

/* Keeps active[] sorted by offset; drops what ended before `step`. */
static int retire(struct qd_place **active, int n_active, int step)
{
    int n = 0;

    for (int i = 0; i < n_active; i++)
        if (active[i]->last_step >= step)
            active[n++] = active[i];
    return n;
}

/* The smallest gap between active places that holds the place; after the last one if none does. */
static int choose_gap(struct qd_place **active, int n_active, struct qd_place *place)
{
    size_t end = 0, best_size = SIZE_MAX;
    int best = -1;

    for (int i = 0; i < n_active; i++) {
        size_t gap = active[i]->offset - end;

        if (gap >= place->size && gap < best_size) {
            best = i;
            best_size = gap;
            place->offset = end;
        }
        end = active[i]->offset + active[i]->size;
    }
    if (best >= 0)
        return best;
    place->offset = end;
    return n_active;
}

enum qd_status qd_memory_plan(struct qd_place **places, int n_places, size_t *ret_size, struct qd_error *err)
{
    struct qd_place **active = NULL;
    size_t size = 0;
    int n_active = 0;
    enum qd_status status;

    status = qd_alloc_for((void **)&active, (size_t)n_places + 1, sizeof(*active), "the memory plan", err);
    if (status != QD_OK)
        return status;
    qsort(places, (size_t)n_places, sizeof(*places), by_first_step);
    for (int i = 0; i < n_places; i++) {
        struct qd_place *place = places[i];
        int at;

        n_active = retire(active, n_active, place->first_step);
        at = choose_gap(active, n_active, place);
        memmove(active + at + 1, active + at, (size_t)(n_active - at) * sizeof(*active));
        active[at] = place;
        n_active++;
        if (place->offset + place->size > size)
            size = place->offset + place->size;
    }
    qd_free(active);
    *ret_size = size;
    return QD_OK;
}

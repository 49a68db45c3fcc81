/* A frame from inside: frame.c makes it and looks into it, exec.c runs in it; nobody else includes this. */
#ifndef QD_ENGINE_FRAME_H
#define QD_ENGINE_FRAME_H

#include "engine/barrier.h"
#include "engine/internal.h"
#include "engine/team.h"
#include "op/q8.h"

struct qd_frame {
    struct qd_barrier barrier; /* between steps */
    struct qd_team team;
    int64_t begun_ns;  /* the run that qd_frame_team was asked for; 0: nobody asked */
    int64_t waited_ns; /* at barriers, when it was last looked at */
    const struct qd_plan *plan;
    int n_threads;
    uint8_t *slab, *slots;
    uint8_t *scratch;       /* plan->scratch_size bytes per thread */
    struct qd_view *views;  /* plan->max_views per thread */
    struct qd_q8_run *runs; /* by step */
    void **pointers;        /* plan->max_views per thread: a run's for other images than the first */
    struct qd_arena arena;  /* the arrays that runs point to */
    bool profile;
    int64_t *step_ns;
    int64_t last_ns;
};

/* image: or the slot's number. */
static inline uint8_t *qd_frame_image(const struct qd_frame *frame, const struct qd_place *place, int image)
{
    return (place->in_slot ? frame->slots : frame->slab) + place->offset + place->at + place->pitch * image;
}

/* Where a value's form lies; NULL: it has none. */
static inline void *qd_frame_place(const struct qd_frame *frame, enum qd_form form, int value, int image)
{
    const struct qd_place *place = &frame->plan->places[form][value];

    return place->used ? qd_frame_image(frame, place, image) : NULL;
}

/* Rows of pixels between a place and contiguous memory: image is the place's, rows h * w * c bytes. */
void qd_copy_rows(const struct qd_place *place, uint8_t *image, uint8_t *rows, bool to_rows);

#endif

/* What plan.c and its helpers build and exec.c runs; only src/engine includes this. */
#ifndef QD_ENGINE_INTERNAL_H
#define QD_ENGINE_INTERNAL_H

#include "engine/plan.h"
#include "op/op.h"
#include "util/mem.h"

/* The forms a value can have in a frame: bytes, floats, and a copy of the bytes with padding around. */
enum qd_form { QD_FORM_Q8, QD_FORM_F32, QD_FORM_PADDED, QD_N_FORMS };

/* Where one form of a value lies in the slab. */
struct qd_place {
    bool used;
    size_t offset;
    bool in_slot;          /* in a thread's slot, one image at a time; else in the slab, every image */
    ptrdiff_t pitch;       /* bytes from image to image, or from slot to slot */
    size_t at;             /* bytes from there to the first element of image 0: padding, or channels before it */
    struct qd_steps steps; /* image: bytes from image to image, for every rank; x and y of pictures */
    size_t size;
    bool touched; /* first_step is set */
    int first_step, last_step;
    struct qd_place *whole; /* NULL, or what this is a part or a name of: its memory is this one's */
    bool renamed;           /* not a part of it but all of it, by another name */
    int64_t channel;        /* where in it */
    int64_t h, w, c;
    struct qd_q8_padding padding;
    uint8_t *pad_bytes; /* [c]; NULL: no padding */
};

struct qd_step {
    enum qd_step_kind kind;
    int node;  /* index, or -1 for conversions */
    int value; /* what a conversion converts; a node's first output */
    bool output_f32;
    unsigned blocks; /* a float step on blocks: what its operator says of its inputs and output; else 0 */
    const void *blocks_prepared;
    size_t own_scratch; /* bytes of scratch in front of those for inputs in another order */
    void *prepared;
    const char *why_f32;
    size_t scratch_size;      /* per thread */
    bool padded_input;        /* reads its input 0 from the padded copy */
    struct qd_place **to_pad; /* whose padding is filled in this step, before it is read in the next ones */
    int n_to_pad;
    struct qd_arena arena; /* in_order: what prepared points to; else that is in the plan's */
};

/* The form in which an int8 step reads its node's input i. */
static inline enum qd_form qd_step_input_form(const struct qd_step *step, int i)
{
    return i == 0 && step->padded_input ? QD_FORM_PADDED : QD_FORM_Q8;
}

/*
 * The first depth_steps steps run depth first where there are images enough: each thread takes an image through all of
 * them, so that what one step makes is still in the core's cache for the next. Values that live only there have one
 * place per thread, its slot.
 */
struct qd_plan {
    struct qd_arena arena;
    const struct qd_graph *graph;
    struct qd_plan_options options;
    struct qd_step *steps;
    int n_steps;
    struct qd_place *places[QD_N_FORMS]; /* by value */
    bool *in_blocks;                     /* by value: its floats lie in blocks of channels */
    bool *joined;  /* by node: its inputs are parts of its output, or its output its input: nothing to do */
    int n_refused; /* nodes that run in float because layout or prepare said no */
    int depth_steps;
    size_t slab_size;
    size_t slot_size;
    size_t scratch_size; /* per thread */
    int max_views;       /* inputs and outputs of the widest node */
};

/* Gives each used place its offset; places whose steps overlap do not share memory. Returns the slab's size. */
enum qd_status qd_memory_plan(struct qd_place **places, int n_places, size_t *ret_size, struct qd_error *err);

/*
 * Decides how quantized values lie: places[QD_FORM_Q8] and [QD_FORM_PADDED] get steps, padding and wholes.
 * *ret_refused: a node that has to run in float for it (QD_UNSUPPORTED), and *ret_why.
 */
enum qd_status qd_layout_plan(struct qd_plan *plan, const bool *node_q8, int *ret_refused, const char **ret_why,
                              struct qd_error *err);

/* Writes the places' pad_bytes, of the values' scales as they are now. */
void qd_layout_set_pad_bytes(struct qd_plan *plan);

/* NULL where the scales of a node's values let it run quantized, else the reason why not. */
const char *qd_why_not_scales(const struct qd_graph *graph, const struct qd_node *node);

/*
 * Sets prepared and scratch_size of an int8 step whose places have their steps; what it makes lives in the arena.
 * QD_UNSUPPORTED: not with these scales.
 */
enum qd_status qd_step_prepare(const struct qd_plan *plan, struct qd_step *step, struct qd_arena *arena,
                               struct qd_error *err);

/* Decides which values lie in blocks (plan->in_blocks), and what steps take (by node, into ret_takes). */
void qd_blocks_plan(struct qd_plan *plan, unsigned *ret_takes);

/* Sets blocks and what belongs to it of a float step. */
enum qd_status qd_blocks_prepare(struct qd_plan *plan, struct qd_step *step, unsigned takes, struct qd_error *err);

/* Whether a value's floats can be in blocks at all: a picture of more than one pixel. */
static inline bool qd_can_lie_in_blocks(const struct qd_value *value)
{
    return value->dtype == QD_F32 && value->shape.n_dims == 4 && value->shape.dims[0] == 1 &&
           value->shape.dims[2] * value->shape.dims[3] > 1;
}

/* Chooses depth_steps, and gives each place its offset in the slab or the slots. */
enum qd_status qd_places_plan(struct qd_plan *plan, struct qd_error *err);

/* The place whose memory this one uses: itself, or the outermost concatenation around it. */
struct qd_place *qd_place_whole(struct qd_place *place);

/* Writes the padding beside the rows [row_begin, row_end) of an image, and above the first and below the last. */
void qd_place_fill_padding(const struct qd_place *place, uint8_t *image, int64_t row_begin, int64_t row_end);

#endif

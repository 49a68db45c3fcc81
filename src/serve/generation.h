/*
 * Which generation of its scales a model is: found when it loads, numbered when it takes over, kept on disk when it
 * came from a recalibration. What model.c and the registry share.
 */
#ifndef QD_SERVE_GENERATION_H
#define QD_SERVE_GENERATION_H

#include "serve/model.h"

/*
 * Reads what is kept of the model's generations (model->base_key, model->generations) and says in *ret_number which of
 * them options ask for, 0: none. images are the model's own pictures. A damaged file is a warning in the model's
 * result. QD_NOT_FOUND: options name a generation that is not kept, or there is none before the current one.
 */
enum qd_status qd_generation_find(struct qd_model *model, const struct qd_image_set *images,
                                  const struct qd_pipeline_options *pipeline, const struct qd_model_options *options,
                                  int *ret_number, struct qd_error *err);

#define QD_N_GIVEN 64

/* Which numbers an entry gave to which scales since the process started; the latest of them. Zeroed: none. */
struct qd_given_numbers {
    int n, last;
    struct {
        int number;
        struct qd_hash identity;
    } list[QD_N_GIVEN];
};

/*
 * Gives a model that may take over its number: that of its kept generation, or what the same scales of the same network
 * had before, else one that was never given. qd_generation_note once it does take over.
 */
void qd_generation_number(struct qd_model *fresh, const struct qd_given_numbers *given);
void qd_generation_note(const struct qd_model *model, struct qd_given_numbers *given);

/*
 * Keeps the scales of a recalibration (and, the first time, those of old, so that they can come back), or that the
 * model was rolled back to. Nothing is kept without a cache folder.
 */
enum qd_status qd_generation_keep(struct qd_model *fresh, const struct qd_model *old,
                                  const struct qd_model_options *options, struct qd_error *err);

#endif

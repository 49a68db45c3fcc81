/* quantd export --accelerator: integers alone in a folder, with vectors to check hardware against. */
#ifndef QD_CLI_ACCELERATOR_H
#define QD_CLI_ACCELERATOR_H

#include "serve/model.h"

/* How quantd's own int8 compares, byte by byte, over the pictures. Steps that leave int32 are not counted. */
struct qd_accelerator_report {
    int n_steps, n_skipped; /* nodes that the folder lacks */
    size_t n_pictures, n_golden;
    int64_t n_bytes;
    int64_t n_alone, n_chain; /* that differ: a step on int8's inputs; the whole network */
    int largest_alone, largest_chain;
    size_t n_same_class;
    char skipped[256]; /* the nodes' names */
};

/*
 * Writes FOLDER/model.json, weights.bin and golden/P/ for n_golden pictures, as docs/accelerator-export.md says, and
 * compares over n_pictures: of the evaluation set, or else of those that calibrated.
 */
enum qd_status qd_accelerator_export(const struct qd_model *model, const struct qd_model_options *options,
                                     const char *folder, size_t n_golden, size_t n_pictures,
                                     struct qd_accelerator_report *ret, struct qd_error *err);

#endif

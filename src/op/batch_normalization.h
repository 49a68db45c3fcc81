/* What BatchNormalization's parse leaves in node->params. */
#ifndef QD_OP_BATCH_NORMALIZATION_H
#define QD_OP_BATCH_NORMALIZATION_H

struct qd_batch_norm_params {
    float epsilon;
};

#endif

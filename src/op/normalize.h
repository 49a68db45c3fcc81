/* quantd.Normalize: y = x * scale[c] + bias[c], the preprocessing as a node, between the pixels and the model. */
#ifndef QD_OP_NORMALIZE_H
#define QD_OP_NORMALIZE_H

struct qd_normalize_params {
    float scale[4], bias[4]; /* per channel, at most 4 */
};

#endif

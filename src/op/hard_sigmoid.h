/* What HardSigmoid's parse leaves in node->params. */
#ifndef QD_OP_HARD_SIGMOID_H
#define QD_OP_HARD_SIGMOID_H

struct qd_hard_sigmoid_params {
    float alpha, beta;
};

#endif

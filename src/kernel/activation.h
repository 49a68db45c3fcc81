/* Activations: the functions that an operator can apply to its result. */
#ifndef QD_KERNEL_ACTIVATION_H
#define QD_KERNEL_ACTIVATION_H

/* An elementwise function that a node applies to its result (after adding its residual). */
enum qd_activation_kind {
    QD_ACT_NONE,
    QD_ACT_CLIP,
    QD_ACT_LEAKY,
    QD_ACT_HARDSWISH,   /* x * hardsigmoid(x) with alpha 1/6, beta 1/2 */
    QD_ACT_HARDSIGMOID, /* min(max(alpha * x + beta, 0), 1) */
    QD_ACT_SIGMOID,
    QD_ACT_TANH,
    QD_ACT_SILU, /* x * sigmoid(x) */
    QD_ACT_GELU, /* x * (1 + erf(x / sqrt(2))) / 2 */
    QD_ACT_MISH, /* x * tanh(log(1 + exp(x))) */
};

struct qd_activation {
    enum qd_activation_kind kind;
    float min, max; /* CLIP: -INFINITY and INFINITY where open; Relu is [0, inf) */
    float alpha;    /* LEAKY, 0 <= alpha <= 1; HARDSIGMOID */
    float beta;     /* HARDSIGMOID */
};

#endif

/* Exponentials, logarithms, powers and trigonometry of one operand. */
#include <math.h>

#include "op/elementwise.h"

/* x, the row function's name and the expression, one line each; the table of every operator stands behind. */
#define FUNCTION(name, onnx_name, first_opset, expression)                                                             \
    QD_ROW_1(name##_f32, float, float, expression)                                                                     \
    static const struct qd_elementwise name##_functions = {.rows = {[QD_F32] = name##_f32}};                           \
    QD_ELEMENTWISE_OP(qd_op_##name, onnx_name, first_opset, 1, name##_functions, QD_ELEMENTWISE_FIELDS)

FUNCTION(acos, "Acos", 7, acosf(x));
FUNCTION(acosh, "Acosh", 9, acoshf(x));
FUNCTION(asin, "Asin", 7, asinf(x));
FUNCTION(asinh, "Asinh", 9, asinhf(x));
FUNCTION(atan, "Atan", 7, atanf(x));
FUNCTION(atanh, "Atanh", 9, atanhf(x));
FUNCTION(cos, "Cos", 7, cosf(x));
FUNCTION(cosh, "Cosh", 9, coshf(x));
FUNCTION(erf, "Erf", 9, erff(x));
FUNCTION(exp, "Exp", 7, expf(x));
FUNCTION(log, "Log", 7, logf(x));
FUNCTION(reciprocal, "Reciprocal", 7, 1 / x);
FUNCTION(sin, "Sin", 7, sinf(x));
FUNCTION(sinh, "Sinh", 9, sinhf(x));
FUNCTION(softsign, "Softsign", 7, x / (1 + fabsf(x)));
FUNCTION(sqrt, "Sqrt", 7, sqrtf(x));
FUNCTION(tan, "Tan", 7, tanf(x));
/* log(1 + exp(x)), without overflow and without losing small results. */
FUNCTION(softplus, "Softplus", 7, (x > 0 ? x : 0) + log1pf(expf(-fabsf(x))));

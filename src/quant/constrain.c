#include <math.h>

#include "quant/method.h"

/* The zero points that a form allows for a step, from the one that q had with its own. */
static int zeros_for(const struct qd_distribution *d, const struct qd_calibration_form *form, struct qd_qparams q,
                     double step, int ret[5])
{
    int max = (1 << q.bits) - 1, at = (int)rint(q.zero_point * (double)q.scale / step), n = 0;

    if (d->min >= 0 || form->plain_zero) {
        ret[0] = d->min >= 0 ? 0 : 1 << (q.bits - 1);
        return 1;
    }
    for (int zero = at - 2; zero <= at + 2; zero++)
        if (zero >= 0 && zero <= max)
            ret[n++] = zero;
    if (!n)
        ret[n++] = at < 0 ? 0 : max;
    return n;
}

struct qd_qparams qd_constrain(const struct qd_distribution *d, struct qd_qparams q,
                               const struct qd_calibration_form *form, bool power_of_two)
{
    struct qd_qparams best = q;
    double least = INFINITY;

    if (!power_of_two && !(form->plain_zero && d->min < 0 && q.zero_point != 1 << (q.bits - 1)))
        return q;
    for (int i = -8; i <= 16; i++) {
        double exponent = log2((double)q.scale) + i / 8.0, step;
        int zeros[5], n;

        if (power_of_two && i % 8)
            continue;
        step = exp2(power_of_two ? floor(log2((double)q.scale)) + i / 8 : exponent);
        n = zeros_for(d, form, q, step, zeros);
        for (int z = 0; z < n; z++) {
            struct qd_qparams next = {(float)step, zeros[z], q.bits};
            double error = qd_distribution_error(d, next);

            if (error >= least)
                continue;
            least = error;
            best = next;
        }
    }
    return best;
}

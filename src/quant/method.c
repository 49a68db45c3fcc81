#include "quant/method.h"

#include <string.h>

#include "util/mem.h"

static const struct qd_method *const qd_methods[] = {&qd_method_adlq, &qd_method_mse, &qd_method_minmax};

const struct qd_method *qd_method_at(int i)
{
    return i >= 0 && (size_t)i < QD_ARRAY_SIZE(qd_methods) ? qd_methods[i] : NULL;
}

const struct qd_method *qd_method_find(const char *name)
{
    for (int i = 0; qd_method_at(i); i++)
        if (strcmp(qd_method_at(i)->name, name) == 0)
            return qd_method_at(i);
    return NULL;
}

double qd_distribution_error(const struct qd_distribution *d, struct qd_qparams q)
{
    double error = 0;

    for (int i = 0; i < d->n_tensors; i++)
        error += qd_bins_error(d->bins[i], d->n_bins[i], (double)q.scale, q.zero_point, (1 << q.bits) - 1);
    return error;
}

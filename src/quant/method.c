#include "quant/method.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "util/mem.h"

static const struct qd_method *const qd_methods[] = {
    &qd_method_adlq,    &qd_method_mse,  &qd_method_minmax, &qd_method_percentile_99_99, &qd_method_percentile_99_999,
    &qd_method_entropy, &qd_method_aciq, &qd_method_octav,  &qd_method_pow2_max,
};

_Static_assert(QD_ARRAY_SIZE(qd_methods) <= QD_MAX_METHODS, "QD_MAX_METHODS is too small");

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

const char *qd_method_list(char *text, size_t text_size)
{
    size_t used = 0;

    text[0] = 0;
    for (int i = 0; qd_method_at(i) && used < text_size; i++)
        used += (size_t)snprintf(text + used, text_size - used, "%s%s", used ? ", " : "", qd_method_at(i)->name);
    return text;
}

double qd_distribution_error(const struct qd_distribution *d, struct qd_qparams q)
{
    double error = 0;

    for (int i = 0; i < d->n_tensors; i++)
        error += qd_bins_error(d->bins[i], d->n_bins[i], (double)q.scale, q.zero_point, (1 << q.bits) - 1);
    return error;
}

struct qd_qparams qd_qparams_of_range(float min, float max, int bits)
{
    int highest = (1 << bits) - 1;
    struct qd_qparams q = {.scale = (max - min) / (float)highest, .bits = bits};

    if (!(q.scale > 0x1p-100f))
        q.scale = 1;
    q.zero_point = (int)fmin(fmax(rint(-(double)min / (double)q.scale), 0), highest);
    return q;
}

struct qd_qparams qd_qparams_of_clip(const struct qd_distribution *d, double clip, int bits)
{
    bool is_signed = d->min < 0;
    int n_steps = is_signed ? (1 << (bits - 1)) - 1 : (1 << bits) - 1;
    double largest = fmax(-(double)d->min, (double)d->max);
    struct qd_qparams q = {.zero_point = is_signed ? 1 << (bits - 1) : 0, .bits = bits};

    q.scale = (float)(fmin(clip, largest) / n_steps);
    return q.scale > 0x1p-100f ? q : qd_qparams_of_range(0, 0, bits);
}

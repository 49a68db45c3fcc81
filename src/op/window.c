#include "op/window.h"

#include <string.h>

/* An attribute of n values into to[0..n-1], each in min..max; left alone where it is absent. */
static enum qd_status read_ints(const struct qd_node *node, const char *name, int n, int64_t min, int64_t max,
                                int64_t *to, struct qd_error *err)
{
    const int64_t *values;
    int n_found;
    enum qd_status status = qd_node_attr_ints(node, name, &values, &n_found, err);

    if (status != QD_OK || !values)
        return status;
    if (n_found != n)
        return qd_error_set(err, n_found * 2 == n || n_found * 2 == 3 * n ? QD_UNSUPPORTED : QD_INVALID,
                            "%s: expected %d values, found %d", name, n, n_found);
    for (int i = 0; i < n; i++) {
        if (values[i] < min || values[i] > max)
            return qd_error_set(err, QD_INVALID, "%s: expected %lld..%lld, found %lld", name, (long long)min,
                                (long long)max, (long long)values[i]);
        to[i] = values[i];
    }
    return QD_OK;
}

static enum qd_status read_auto_pad(const struct qd_node *node, enum qd_auto_pad *ret, struct qd_error *err)
{
    static const char *const names[] = {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"};
    const char *text;
    enum qd_status status = qd_node_attr_string(node, "auto_pad", "NOTSET", &text, err);

    if (status != QD_OK)
        return status;
    for (int i = 0; i < 4; i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret = (enum qd_auto_pad)i;
            return QD_OK;
        }
    }
    return qd_error_set(err, QD_INVALID, "auto_pad: expected NOTSET, SAME_UPPER, SAME_LOWER or VALID, found '%.40s'", text);
}

enum qd_status qd_window_parse(const struct qd_node *node, struct qd_window *window, struct qd_error *err)
{
    int64_t pads[4] = {0, 0, 0, 0}, ceil_mode;
    enum qd_status status;

    window->stride[0] = window->stride[1] = window->dilation[0] = window->dilation[1] = 1;
    status = read_ints(node, "kernel_shape", 2, 1, 65535, window->kernel, err);
    if (status == QD_OK)
        status = read_ints(node, "strides", 2, 1, 65535, window->stride, err);
    if (status == QD_OK)
        status = read_ints(node, "dilations", 2, 1, 65535, window->dilation, err);
    if (status == QD_OK)
        status = read_ints(node, "pads", 4, 0, 65535, pads, err);
    if (status == QD_OK)
        status = read_auto_pad(node, &window->auto_pad, err);
    if (status == QD_OK)
        status = qd_node_attr_int(node, "ceil_mode", 0, &ceil_mode, err);
    if (status != QD_OK)
        return status;
    window->ceil_mode = ceil_mode != 0;
    for (int i = 0; i < 2; i++) {
        window->pad_begin[i] = window->auto_pad == QD_PAD_NOTSET ? pads[i] : 0;
        window->pad_end[i] = window->auto_pad == QD_PAD_NOTSET ? pads[2 + i] : 0;
    }
    return QD_OK;
}

enum qd_status qd_window_infer(struct qd_window *window, const struct qd_shape *in, int64_t ret_out[2],
                               struct qd_error *err)
{
    char text[QD_SHAPE_TEXT_SIZE];

    if (in->n_dims != 4)
        return qd_error_set(err, QD_UNSUPPORTED, "expected an input [n,c,h,w], found %s", qd_shape_text(in, text));
    for (int i = 0; i < 2; i++) {
        int64_t size = in->dims[2 + i], extent = (window->kernel[i] - 1) * window->dilation[i] + 1;
        int64_t room, out;

        if (window->auto_pad == QD_PAD_SAME_UPPER || window->auto_pad == QD_PAD_SAME_LOWER) {
            int64_t total;

            out = (size + window->stride[i] - 1) / window->stride[i];
            total = (out - 1) * window->stride[i] + extent - size;
            total = total > 0 ? total : 0;
            window->pad_begin[i] = window->auto_pad == QD_PAD_SAME_UPPER ? total / 2 : total - total / 2;
            window->pad_end[i] = total - window->pad_begin[i];
        }
        room = size + window->pad_begin[i] + window->pad_end[i] - extent;
        if (room < 0)
            return qd_error_set(err, QD_INVALID, "a window of %lld does not fit into %lld padded to %lld",
                                (long long)extent, (long long)size, (long long)(room + extent));
        out = (room + (window->ceil_mode ? window->stride[i] - 1 : 0)) / window->stride[i] + 1;
        /* A last window that would begin in the end padding is left out. */
        if (window->ceil_mode && (out - 1) * window->stride[i] >= size + window->pad_begin[i])
            out--;
        ret_out[i] = out;
    }
    return QD_OK;
}

struct qd_window_f32 qd_window_f32_of(const struct qd_window *window)
{
    return (struct qd_window_f32){
        .kernel_h = (int)window->kernel[0],
        .kernel_w = (int)window->kernel[1],
        .stride_h = (int)window->stride[0],
        .stride_w = (int)window->stride[1],
        .dilation_h = (int)window->dilation[0],
        .dilation_w = (int)window->dilation[1],
        .pad_top = (int)window->pad_begin[0],
        .pad_left = (int)window->pad_begin[1],
    };
}

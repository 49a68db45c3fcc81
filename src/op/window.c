#include "op/window.h"

#define MAX_TAPS (1 << 24) /* of one window: a pool over 4096 x 4096 */

#include <string.h>

/* ONNX's order of axes, by how many there are. */
static const enum qd_axis orders[][QD_N_AXES] = {
    {0}, {QD_AXIS_W}, {QD_AXIS_H, QD_AXIS_W}, {QD_AXIS_D, QD_AXIS_H, QD_AXIS_W}};

enum qd_status qd_window_read(const struct qd_node *node, const char *name, int64_t min, struct qd_window *window,
                              int64_t *begins, int64_t *ends, struct qd_error *err)
{
    const int64_t *values;
    int n_found, n, sides = ends ? 2 : 1;
    enum qd_status status = qd_node_attr_ints(node, name, &values, &n_found, err);

    if (status != QD_OK || !values)
        return status;
    if (!window->n_axes && n_found % sides)
        return qd_error_set(err, QD_INVALID, "%s: expected two values per axis, found %d", name, n_found);
    n = window->n_axes ? window->n_axes : n_found / sides;
    if (n_found != n * sides)
        return qd_error_set(err, QD_INVALID, "%s: expected %d values, found %d", name, n * sides, n_found);
    if (n < 1 || n > QD_N_AXES)
        return qd_error_set(err, QD_UNSUPPORTED, "%s: expected values for 1 to 3 axes, found %d", name, n_found);
    window->n_axes = n;
    for (int i = 0; i < n_found; i++) {
        if (values[i] < min || values[i] > 65535)
            return qd_error_set(err, QD_INVALID, "%s: expected %lld..65535, found %lld", name, (long long)min,
                                (long long)values[i]);
        (i < n ? begins : ends)[orders[n][i % n]] = values[i];
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
    return qd_error_set(err, QD_INVALID, "auto_pad: expected NOTSET, SAME_UPPER, SAME_LOWER or VALID, found '%.40s'",
                        text);
}

enum qd_status qd_window_parse(const struct qd_node *node, struct qd_window *window, struct qd_error *err)
{
    bool has_kernel = qd_node_attr(node, "kernel_shape") != NULL;
    int64_t ceil_mode;
    enum qd_status status;

    for (int i = 0; i < QD_N_AXES; i++) {
        window->kernel[i] = has_kernel;
        window->stride[i] = window->dilation[i] = 1;
    }
    status = read_auto_pad(node, &window->auto_pad, err);
    if (status == QD_OK)
        status = qd_window_read(node, "kernel_shape", 1, window, window->kernel, NULL, err);
    if (status == QD_OK)
        status = qd_window_read(node, "strides", 1, window, window->stride, NULL, err);
    if (status == QD_OK)
        status = qd_window_read(node, "dilations", 1, window, window->dilation, NULL, err);
    if (status == QD_OK)
        status = qd_window_read(node, "pads", 0, window, window->pad_begin, window->pad_end, err);
    if (status == QD_OK)
        status = qd_node_attr_int(node, "ceil_mode", 0, &ceil_mode, err);
    if (status != QD_OK)
        return status;
    window->ceil_mode = ceil_mode != 0;
    for (int i = 0; i < QD_N_AXES && window->auto_pad != QD_PAD_NOTSET; i++)
        window->pad_begin[i] = window->pad_end[i] = 0;
    return QD_OK;
}

void qd_window_spread(struct qd_window *window, enum qd_axis axis, int64_t total)
{
    total = total > 0 ? total : 0;
    window->pad_begin[axis] = window->auto_pad == QD_PAD_SAME_LOWER ? total - total / 2 : total / 2;
    window->pad_end[axis] = total - window->pad_begin[axis];
}

static enum qd_status infer_axis(struct qd_window *window, enum qd_axis i, int64_t size, int64_t *ret_out,
                                 struct qd_error *err)
{
    int64_t extent = (window->kernel[i] - 1) * window->dilation[i] + 1, stride = window->stride[i], room, out;

    if (window->auto_pad == QD_PAD_SAME_UPPER || window->auto_pad == QD_PAD_SAME_LOWER)
        qd_window_spread(window, i, ((size + stride - 1) / stride - 1) * stride + extent - size);
    room = size + window->pad_begin[i] + window->pad_end[i] - extent;
    if (room < 0)
        return qd_error_set(err, QD_INVALID, "a window of %lld does not fit into %lld padded to %lld",
                            (long long)extent, (long long)size, (long long)(room + extent));
    out = (room + (window->ceil_mode ? stride - 1 : 0)) / stride + 1;
    /* A last window that would begin in the end padding is left out. */
    if (window->ceil_mode && (out - 1) * stride >= size + window->pad_begin[i])
        out--;
    *ret_out = out;
    return QD_OK;
}

enum qd_status qd_window_infer(struct qd_window *window, const struct qd_shape *in, struct qd_shape *out,
                               struct qd_error *err)
{
    char text[QD_SHAPE_TEXT_SIZE];
    int64_t n_taps = 1;
    int n_axes = in->n_dims - 2;

    if (n_axes < 1 || n_axes > QD_N_AXES)
        return qd_error_set(err, QD_UNSUPPORTED, "expected an input [n,c,w], [n,c,h,w] or [n,c,d,h,w], found %s",
                            qd_shape_text(in, text));
    if (window->n_axes && window->n_axes != n_axes)
        return qd_error_set(err, QD_INVALID, "expected a window of %d axes over an input %s, found one of %d", n_axes,
                            qd_shape_text(in, text), window->n_axes);
    for (int i = 0; i < n_axes; i++) {
        n_taps *= window->kernel[orders[n_axes][i]];
        if (n_taps > MAX_TAPS)
            return qd_error_set(err, QD_TOO_LARGE, "kernel_shape: expected at most %d taps, found more", MAX_TAPS);
    }
    out->n_dims = in->n_dims;
    for (int i = 0; i < n_axes; i++) {
        enum qd_status status = infer_axis(window, orders[n_axes][i], in->dims[2 + i], &out->dims[2 + i], err);

        if (status != QD_OK)
            return status;
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

#include "op/resize.h"

#include <math.h>
#include <string.h>

#define MAX_CUBIC_A 2.0f

/* The place of a text attribute among names. */
static enum qd_status read_choice(const struct qd_node *node, const char *name, const char *const *names, int n,
                                  const char *fallback, int *ret, struct qd_error *err)
{
    const char *text;
    enum qd_status status = qd_node_attr_string(node, name, fallback, &text, err);

    if (status != QD_OK)
        return status;
    for (int i = 0; i < n; i++) {
        if (strcmp(names[i], text) == 0) {
            *ret = i;
            return QD_OK;
        }
    }
    return qd_error_set(err, QD_UNSUPPORTED, "%s: '%.40s' is not one that quantd knows", name, text);
}

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    static const char *const modes[] = {"nearest", "linear", "cubic"};
    static const char *const coordinates[] = {"half_pixel",        "half_pixel_symmetric", "pytorch_half_pixel",
                                              "align_corners",     "asymmetric",           "tf_half_pixel_for_nn",
                                              "tf_crop_and_resize"};
    static const char *const nearest[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil", "simple"};
    bool is_old = node->opset < 11 || strcmp(node->op->name, "Upsample") == 0; /* before there was a choice */
    struct qd_resize_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    struct qd_resize_attrs *a;
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    a = &params->attrs;
    status = read_choice(node, "mode", modes, 3, "nearest", &a->mode, err);
    if (status == QD_OK)
        status = read_choice(node, "coordinate_transformation_mode", coordinates, 7,
                             is_old ? "asymmetric" : "half_pixel", &a->coordinates, err);
    if (status == QD_OK)
        status =
            read_choice(node, "nearest_mode", nearest, 5, is_old ? "simple" : "round_prefer_floor", &a->nearest, err);
    if (status == QD_OK)
        status = qd_node_attr_float(node, "cubic_coeff_a", -0.75f, &a->cubic_a, err);
    if (status == QD_OK)
        status = qd_node_attr_float(node, "extrapolation_value", 0, &a->extrapolation, err);
    if (status == QD_OK)
        status = qd_node_attr_int(node, "exclude_outside", 0, &a->exclude_outside, err);
    if (status == QD_OK)
        status = qd_node_attr_int(node, "antialias", 0, &a->antialias, err);
    if (status == QD_OK && !(fabsf(a->cubic_a) <= MAX_CUBIC_A)) /* int8 sums of its weights stay within 32 bits */
        status = qd_error_set(err, QD_INVALID, "cubic_coeff_a: expected -%g to %g, found %g", (double)MAX_CUBIC_A,
                              (double)MAX_CUBIC_A, (double)a->cubic_a);
    return status;
}

/* What is asked for by axis: scales, or sizes (0: none); and the crop. */
struct request {
    float scales[QD_MAX_DIMS], begin[QD_MAX_DIMS], end[QD_MAX_DIMS];
    int64_t sizes[QD_MAX_DIMS];
    bool by_size;
};

/* Constant floats of an input into to[]: exactly n, or *ret_there false where it is absent or empty. */
static enum qd_status read_floats(const struct qd_graph *graph, const struct qd_node *node, int i, const char *name,
                                  int n, float *to, bool *ret_there, struct qd_error *err)
{
    const struct qd_value *value = qd_node_input(graph, node, i);

    *ret_there = value && (!value->data || qd_shape_count(&value->shape) > 0);
    if (!*ret_there)
        return QD_OK;
    if (!value->data)
        return qd_error_set(err, QD_UNSUPPORTED, "%s: expected a constant, found a value known only at run time", name);
    if (value->dtype != QD_F32 || qd_shape_count(&value->shape) != n)
        return qd_error_set(err, QD_INVALID, "%s: expected %d floats", name, n);
    memcpy(to, value->data, (size_t)n * sizeof(float));
    return QD_OK;
}

/* The axes that scales and sizes are of: the attribute's (opset 18), or all. */
static enum qd_status read_axes(const struct qd_node *node, int n_dims, int axes[QD_MAX_DIMS], int *ret_n,
                                struct qd_error *err)
{
    const int64_t *given;
    int n;
    enum qd_status status = qd_node_attr_ints(node, "axes", &given, &n, err);

    *ret_n = given ? n : n_dims;
    if (status == QD_OK && n > n_dims)
        return qd_error_set(err, QD_INVALID, "axes: expected at most %d, found %d", n_dims, n);
    for (int i = 0; i < *ret_n && status == QD_OK; i++) {
        axes[i] = i;
        if (given)
            status = qd_op_axis(given[i], n_dims, &axes[i], err);
    }
    return status;
}

/* keep_aspect_ratio_policy: one scale for all axes that have a size. */
static enum qd_status keep_aspect(const struct qd_node *node, const struct qd_shape *in, struct request *r,
                                  const int *axes, int n, struct qd_error *err)
{
    static const char *const policies[] = {"stretch", "not_larger", "not_smaller"};
    int policy = 0;
    float scale = 0;
    enum qd_status status = read_choice(node, "keep_aspect_ratio_policy", policies, 3, "stretch", &policy, err);

    if (status != QD_OK || !policy)
        return status;
    for (int i = 0; i < n; i++) {
        float one = (float)r->sizes[axes[i]] / (float)in->dims[axes[i]];

        scale = i == 0 ? one : policy == 1 ? fminf(scale, one) : fmaxf(scale, one);
    }
    for (int i = 0; i < n; i++) {
        r->sizes[axes[i]] = (int64_t)roundf(scale * (float)in->dims[axes[i]]);
        r->scales[axes[i]] = scale;
    }
    return QD_OK;
}

static enum qd_status read_sizes(const struct qd_graph *graph, const struct qd_node *node, struct request *r,
                                 const int *axes, int n, struct qd_error *err)
{
    const struct qd_shape *in = &qd_node_input(graph, node, 0)->shape;
    int64_t sizes[QD_MAX_DIMS];
    int n_sizes;
    enum qd_status status = qd_op_const_ints(graph, node, 3, QD_MAX_DIMS, sizes, &n_sizes, err);

    if (status == QD_OK && n_sizes != n)
        status = qd_error_set(err, QD_INVALID, "sizes: expected %d, found %d", n, n_sizes);
    for (int i = 0; i < n && status == QD_OK; i++) {
        if (sizes[i] < 1 || sizes[i] > QD_MAX_ELEMENTS)
            return qd_error_set(err, QD_INVALID, "sizes: expected 1 or more, found %lld", (long long)sizes[i]);
        r->sizes[axes[i]] = sizes[i];
        r->scales[axes[i]] = (float)sizes[i] / (float)in->dims[axes[i]];
    }
    r->by_size = true;
    return status == QD_OK ? keep_aspect(node, in, r, axes, n, err) : status;
}

/* Upsample has scales as an attribute (7) or as input 1; Resize as input 1 (10), since 11 roi is in front of them. */
static enum qd_status read_request(const struct qd_graph *graph, const struct qd_node *node, struct request *r,
                                   struct qd_error *err)
{
    const struct qd_value *in = qd_node_input(graph, node, 0);
    int axes[QD_MAX_DIMS], n, scales_at = node->opset >= 11 && node->op->max_inputs > 2 ? 2 : 1;
    const struct qd_attr *attr = qd_node_attr(node, "scales");
    float roi[2 * QD_MAX_DIMS], scales[QD_MAX_DIMS];
    bool there = false, has_roi = false;
    enum qd_status status = read_axes(node, in->shape.n_dims, axes, &n, err);

    for (int d = 0; d < in->shape.n_dims; d++) {
        r->scales[d] = r->end[d] = 1;
        r->begin[d] = 0;
        r->sizes[d] = in->shape.dims[d];
    }
    r->by_size = false;
    if (status == QD_OK && scales_at == 2)
        status = read_floats(graph, node, 1, "roi", 2 * n, roi, &has_roi, err);
    for (int i = 0; i < n && has_roi && status == QD_OK; i++) {
        r->begin[axes[i]] = roi[i];
        r->end[axes[i]] = roi[n + i];
    }
    if (status == QD_OK && attr && attr->kind == QD_ATTR_FLOATS && attr->n == n) {
        memcpy(scales, attr->floats, (size_t)n * sizeof(float));
        there = true;
    } else if (status == QD_OK) {
        status = read_floats(graph, node, scales_at, "scales", n, scales, &there, err);
    }
    if (status != QD_OK)
        return status;
    if (there && !qd_node_input(graph, node, 3)) {
        for (int i = 0; i < n; i++)
            r->scales[axes[i]] = scales[i];
        return QD_OK;
    }
    if (!qd_node_input(graph, node, 3))
        return qd_error_set(err, QD_INVALID, "expected scales or sizes, found neither");
    return read_sizes(graph, node, r, axes, n, err);
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct qd_resize_params *params = node->params;
    const struct qd_value *in = qd_node_input(graph, node, 0);
    struct qd_shape out = in->shape;
    enum qd_dtype dtype = in->dtype;
    struct request r;
    enum qd_status status = read_request(graph, node, &r, err);

    if (status == QD_OK && params->attrs.mode != QD_RESIZE_NEAREST)
        status = qd_op_need_f32(graph, node, 0, err);
    params->n_dims = out.n_dims;
    for (int d = 0; d < out.n_dims && status == QD_OK; d++) {
        int64_t size = out.dims[d];

        if (!(r.scales[d] > 0) || !(r.scales[d] * (float)size <= (float)QD_MAX_ELEMENTS))
            return qd_error_set(err, QD_INVALID, "scales: expected more than 0 and no more than %d elements, found %g",
                                QD_MAX_ELEMENTS, (double)r.scales[d]);
        out.dims[d] = r.by_size ? r.sizes[d] : (int64_t)floorf((float)size * r.scales[d]);
        params->axes[d] = (struct qd_resize_axis){.in = size, .out = out.dims[d]};
        if (out.dims[d] == size && !(r.scales[d] < 1 || r.scales[d] > 1) && !(r.begin[d] > 0) && !(r.end[d] < 1))
            continue;
        if (size < 1 || qd_shape_count(&out) < 0)
            return qd_error_set(err, QD_INVALID, "an empty dimension, or too many elements");
        status = qd_resize_axis_init(&params->attrs, size, out.dims[d], r.scales[d], r.begin[d], r.end[d],
                                     &graph->arena, &params->axes[d], err);
    }
    return status == QD_OK ? qd_op_set_output(graph, node, 0, dtype, &out, err) : status;
}

/* Elements of the tensor when the first n axes have their new size. */
static int64_t count_after(const struct qd_resize_params *params, int n)
{
    int64_t count = 1;

    for (int d = 0; d < params->n_dims; d++)
        count *= d < n ? params->axes[d].out : params->axes[d].in;
    return count;
}

static size_t scratch_f32(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_resize_params *params = node->params;
    int64_t most = 0;

    (void)graph;
    for (int d = 0; d < params->n_dims; d++)
        most = count_after(params, d + 1) > most ? count_after(params, d + 1) : most;
    return 2 * (size_t)most * sizeof(int64_t); /* nearest takes every type: the widest element */
}

/* One axis of in, [outer][axis.in][inner] elements of size bytes, by nearest. */
static void gather_axis(const struct qd_resize_axis *axis, const uint8_t *in, int64_t outer, size_t inner, uint8_t *out)
{
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < axis->out; i++)
            memcpy(out + (size_t)(o * axis->out + i) * inner, in + (size_t)(o * axis->in + axis->indices[i]) * inner,
                   inner);
}

static void blend_axis(const struct qd_resize_axis *axis, const float *in, int64_t outer, int64_t inner, float *out)
{
    for (int64_t o = 0; o < outer; o++) {
        for (int64_t i = 0; i < axis->out; i++) {
            float *y = out + (o * axis->out + i) * inner;

            for (int t = 0; t < axis->n_taps; t++) {
                const float *x = in + (o * axis->in + axis->indices[i * axis->n_taps + t]) * inner;
                float w = axis->weights[i * axis->n_taps + t];

                for (int64_t j = 0; j < inner; j++)
                    y[j] = t ? y[j] + w * x[j] : w * x[j];
            }
        }
    }
}

/* What tf_crop_and_resize finds outside. */
static void extrapolate(const struct qd_resize_params *params, const struct qd_view *out)
{
    int64_t count = qd_shape_count(out->shape);

    for (int64_t i = 0; i < count && out->dtype == QD_F32; i++) {
        int64_t rest = i;

        for (int d = params->n_dims - 1; d >= 0; d--) {
            if (params->axes[d].outside && params->axes[d].outside[rest % params->axes[d].out])
                ((float *)out->data)[i] = params->attrs.extrapolation;
            rest /= params->axes[d].out;
        }
    }
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct qd_resize_params *params = node->params;
    size_t size = qd_dtype_size(in[0].dtype), half = scratch_f32(NULL, node) / 2;
    const void *from = in[0].data;
    int last = -1, n = 0;

    for (int d = 0; d < params->n_dims; d++)
        last = params->axes[d].n_taps ? d : last;
    if (last < 0)
        memcpy(out[0].data, in[0].data, (size_t)qd_shape_count(out[0].shape) * size);
    for (int d = 0; d <= last; d++) {
        const struct qd_resize_axis *axis = &params->axes[d];
        void *to = d == last ? out[0].data : (uint8_t *)run->scratch + (n++ & 1 ? half : 0);
        int64_t inner = 1, outer = 1;

        if (!axis->n_taps) {
            n -= d != last;
            continue;
        }
        for (int e = 0; e < params->n_dims; e++)
            *(e < d ? &outer : &inner) *= e < d ? params->axes[e].out : e > d ? params->axes[e].in : 1;
        if (params->attrs.mode == QD_RESIZE_NEAREST)
            gather_axis(axis, from, outer, (size_t)inner * size, to);
        else
            blend_axis(axis, from, outer, inner, to);
        from = to;
    }
    if (params->attrs.coordinates == QD_COORDINATES_TF_CROP_AND_RESIZE)
        extrapolate(params, &out[0]);
}

#define RESIZE_FIELDS                                                                                                  \
    .n_outputs = 1, .flags = QD_OP_SAME_SCALE | QD_OP_STEPS,                                                           \
    .limits = "scales and sizes have to be constants; int8: height and width of [1,c,h,w]", .parse = parse,            \
    .infer = infer, .scratch_f32 = scratch_f32, .run_f32 = run_f32, .supports_q8 = qd_resize_supports_q8,              \
    .channel_source = qd_op_same_channel, .prepare_q8 = qd_resize_prepare_q8, .run_q8 = qd_resize_run_q8

const struct qd_op qd_op_resize = {
    .name = "Resize",
    .min_opset = 10,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 4,
    RESIZE_FIELDS,
};

const struct qd_op qd_op_upsample = {
    .name = "Upsample",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 2,
    RESIZE_FIELDS,
};

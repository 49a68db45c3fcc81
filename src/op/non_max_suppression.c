/*
 * NonMaxSuppression: boxes [batches, n, 4], scores [batches, classes, n] to rows (batch, class, box). How many rows
 * there are is known only afterwards, but a plan has fixed sizes: with constant inputs the output is exact, else it has
 * room for all there could be, and the rows that are left over are -1 (as TensorRT and TFLite do it).
 */
#include <math.h>
#include <string.h>

#include "op/ops.h"

struct nms_params {
    int64_t center_point_box;
    int64_t most; /* rows per class; set by infer */
    float iou_threshold, score_threshold;
    bool has_score_threshold;
};

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct nms_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    return qd_node_attr_int(node, "center_point_box", 0, &params->center_point_box, err);
}

/* An optional constant float. */
static enum qd_status read_float(const struct qd_graph *graph, const struct qd_node *node, int i, const char *name,
                                 float *ret, bool *ret_there, struct qd_error *err)
{
    const struct qd_value *value = qd_node_input(graph, node, i);

    *ret_there = value != NULL;
    if (!value)
        return QD_OK;
    if (!value->data)
        return qd_error_set(err, QD_UNSUPPORTED, "%s: expected a constant, found a value known only at run time", name);
    if (value->dtype != QD_F32 || qd_shape_count(&value->shape) != 1)
        return qd_error_set(err, QD_INVALID, "%s: expected one float", name);
    *ret = *(const float *)value->data;
    return QD_OK;
}

struct box {
    float y1, x1, y2, x2;
};

static struct box read_box(const float *b, bool center)
{
    if (center)
        return (struct box){b[1] - b[3] / 2, b[0] - b[2] / 2, b[1] + b[3] / 2, b[0] + b[2] / 2};
    return (struct box){fminf(b[0], b[2]), fminf(b[1], b[3]), fmaxf(b[0], b[2]), fmaxf(b[1], b[3])};
}

static float area(struct box b)
{
    return (b.y2 - b.y1) * (b.x2 - b.x1);
}

/* Intersection over union. */
static float overlap(struct box a, struct box b)
{
    float h = fminf(a.y2, b.y2) - fmaxf(a.y1, b.y1), w = fminf(a.x2, b.x2) - fmaxf(a.x1, b.x1);
    float both = h > 0 && w > 0 ? h * w : 0;

    return both > 0 ? both / (area(a) + area(b) - both) : 0;
}

/*
 * The boxes of one class by falling score, each kept unless it overlaps one that is kept. taken[n] is scratch. At most
 * `most` into kept; returns how many.
 */
static int64_t choose(const struct nms_params *params, const float *boxes, const float *scores, int64_t n, int64_t most,
                      bool *taken, int64_t *kept)
{
    int64_t n_kept = 0;

    memset(taken, 0, (size_t)n * sizeof(*taken));
    while (n_kept < most) {
        int64_t best = -1;
        bool overlaps = false;

        for (int64_t i = 0; i < n; i++)
            if (!taken[i] && (!params->has_score_threshold || scores[i] > params->score_threshold) &&
                (best < 0 || scores[i] > scores[best]))
                best = i;
        if (best < 0)
            break;
        taken[best] = true;
        for (int64_t i = 0; i < n_kept && !overlaps; i++)
            overlaps = overlap(read_box(boxes + 4 * best, params->center_point_box != 0),
                               read_box(boxes + 4 * kept[i], params->center_point_box != 0)) > params->iou_threshold;
        if (!overlaps)
            kept[n_kept++] = best;
    }
    return n_kept;
}

/* All classes of all batches; rows may be NULL. Returns how many rows. scratch: n * (sizeof(int64_t) + 1) bytes. */
static int64_t suppress(const struct nms_params *params, const float *boxes, const float *scores,
                        const struct qd_shape *shape, void *scratch, int64_t *rows)
{
    int64_t batches = shape->dims[0], classes = shape->dims[1], n = shape->dims[2], n_rows = 0;
    int64_t *kept = scratch;
    bool *taken = (bool *)(kept + n);

    for (int64_t b = 0; b < batches; b++) {
        for (int64_t c = 0; c < classes; c++) {
            int64_t n_kept = choose(params, boxes + b * n * 4, scores + (b * classes + c) * n, n,
                                    params->most < n ? params->most : n, taken, kept);

            for (int64_t i = 0; i < n_kept && rows; i++) {
                rows[(n_rows + i) * 3] = b;
                rows[(n_rows + i) * 3 + 1] = c;
                rows[(n_rows + i) * 3 + 2] = kept[i];
            }
            n_rows += n_kept;
        }
    }
    return n_rows;
}

static size_t scratch_f32(const struct qd_graph *graph, const struct qd_node *node)
{
    return (size_t)graph->values[node->inputs[1]].shape.dims[2] * (sizeof(int64_t) + sizeof(bool)) + 1;
}

static enum qd_status count_rows(const struct qd_graph *graph, const struct qd_node *node, int64_t *ret,
                                 struct qd_error *err)
{
    const struct nms_params *params = node->params;
    const struct qd_value *boxes = qd_node_input(graph, node, 0), *scores = qd_node_input(graph, node, 1);
    int64_t n = scores->shape.dims[2];
    void *scratch = NULL;
    enum qd_status status = QD_OK;

    *ret = scores->shape.dims[0] * scores->shape.dims[1] * (params->most < n ? params->most : n);
    if (!boxes->data || !scores->data)
        return QD_OK;
    status = qd_alloc_for(&scratch, scratch_f32(graph, node), 1, "boxes", err);
    if (status == QD_OK)
        *ret = suppress(params, boxes->data, scores->data, &scores->shape, scratch, NULL);
    qd_free(scratch);
    return status;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct nms_params *params = node->params;
    const struct qd_value *boxes = qd_node_input(graph, node, 0), *scores = qd_node_input(graph, node, 1);
    struct qd_shape out = {.n_dims = 2, .dims = {0, 3}};
    bool there;
    int n;
    enum qd_status status = qd_op_need_f32(graph, node, 0, err);

    if (status == QD_OK)
        status = qd_op_need_f32(graph, node, 1, err);
    if (status != QD_OK)
        return status;
    if (boxes->shape.n_dims != 3 || scores->shape.n_dims != 3 || boxes->shape.dims[2] != 4 ||
        boxes->shape.dims[0] != scores->shape.dims[0] || boxes->shape.dims[1] != scores->shape.dims[2])
        return qd_error_set(err, QD_INVALID, "expected boxes [b,n,4] and scores [b,classes,n]");
    params->most = 0;
    if (qd_node_input(graph, node, 2))
        status = qd_op_const_ints(graph, node, 2, 1, &params->most, &n, err);
    if (status == QD_OK)
        status = read_float(graph, node, 3, "iou_threshold", &params->iou_threshold, &there, err);
    if (status == QD_OK)
        status =
            read_float(graph, node, 4, "score_threshold", &params->score_threshold, &params->has_score_threshold, err);
    if (status != QD_OK)
        return status;
    params->most = params->most < 0 ? 0 : params->most;
    status = count_rows(graph, node, &out.dims[0], err);
    return status == QD_OK ? qd_op_set_output(graph, node, 0, QD_I64, &out, err) : status;
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    int64_t room = out[0].shape->dims[0], *rows = out[0].data;
    int64_t n = suppress(node->params, in[0].data, in[1].data, in[1].shape, run->scratch, rows);

    for (int64_t i = n * 3; i < room * 3; i++)
        rows[i] = -1;
}

const struct qd_op qd_op_non_max_suppression = {
    .name = "NonMaxSuppression",
    .min_opset = 10,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 5,
    .limits = "constant thresholds; rows that are left over at run time are -1",
    .n_outputs = 1,
    .parse = parse,
    .infer = infer,
    .scratch_f32 = scratch_f32,
    .run_f32 = run_f32,
};

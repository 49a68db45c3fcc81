/* Max and average pools over a window. */
#ifndef QD_OP_POOL_H
#define QD_OP_POOL_H

#include "op/window.h"

struct qd_pool_attrs {
    struct qd_window window;
    int64_t count_include_pad;
};

enum qd_status qd_pool_parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err);
enum qd_status qd_pool_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err);

/* One tap under n neighbouring outputs y: output i has x[i * stride] under it. */
typedef void qd_pool_take(const float *x, int64_t stride, float *y, int64_t n);

/* Begins every output with first, then takes the taps inside the input, for each output by window row and column. */
void qd_pool_run_taps(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out, float first,
                      qd_pool_take *take);

/* The taps of an axis (0: rows) under output i that lie before limit, and, unless from_padding, not before 0. */
int64_t qd_pool_count(const struct qd_window *window, int axis, int64_t i, int64_t limit, bool from_padding);

/* prepare and run of both; average says which. */
enum qd_status qd_pool_prepare_q8(struct qd_q8_prepare *prepare, bool average, struct qd_error *err);
void qd_pool_run_q8(const struct qd_q8_run *run, int thread, int n_threads);

#endif

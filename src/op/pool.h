/* Max and average pools over a window. */
#ifndef QD_OP_POOL_H
#define QD_OP_POOL_H

#include "op/window.h"

struct qd_pool_attrs {
    struct qd_window window;
    bool global; /* the window is the whole picture; set by infer */
    int64_t count_include_pad, storage_order;
    int64_t p; /* of the Lp pools' norm */
};

enum qd_status qd_pool_parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err);
enum qd_status qd_pool_parse_global(struct qd_graph *graph, struct qd_node *node, struct qd_error *err);
enum qd_status qd_pool_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err);

/* y = the sums of x under the window; shapes of 3 to 5 dimensions. */
void qd_pool_sum(const struct qd_window *window, const struct qd_shape *in, const float *x, const struct qd_shape *out,
                 float *y);

/* Whether the int8 kernels can: pictures [1,c,h,w], and each window holds a pixel, for they leave padding out. */
bool qd_pool_supports_q8(const struct qd_graph *graph, const struct qd_node *node);
/* prepare and run of both; average says which. */
enum qd_status qd_pool_prepare_q8(struct qd_q8_prepare *prepare, bool average, struct qd_error *err);
void qd_pool_run_q8(const struct qd_q8_run *run, int thread, int n_threads);

#endif

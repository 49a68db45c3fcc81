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

/* prepare and run of both; average says which. */
enum qd_status qd_pool_prepare_q8(struct qd_q8_prepare *prepare, bool average, struct qd_error *err);
void qd_pool_run_q8(const struct qd_q8_run *run, int thread, int n_threads);

#endif

#include <string.h>

#include "op/unary.h"

QD_UNARY_AS(QD_ACT_GELU)

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const char *approximate;
    enum qd_status status = qd_node_attr_string(node, "approximate", "none", &approximate, err);

    (void)graph;
    if (status == QD_OK && strcmp(approximate, "none") != 0)
        return qd_error_set(err, QD_UNSUPPORTED, "approximate: expected 'none', found '%.40s'", approximate);
    return status;
}

const struct qd_op qd_op_gelu = {
    .name = "Gelu",
    .min_opset = 20,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .parse = parse,
    QD_UNARY_ACTIVATION_FIELDS,
};

#include <string.h>

#include "graph/graph.h"

const struct qd_attr *qd_node_attr(const struct qd_node *node, const char *name)
{
    for (int i = 0; i < node->n_attrs; i++)
        if (strcmp(node->attrs[i].name, name) == 0)
            return &node->attrs[i];
    return NULL;
}

/* The attribute if it is there and of that kind; *ret NULL if it is not there. */
static enum qd_status find(const struct qd_node *node, const char *name, enum qd_attr_kind kind,
                           const struct qd_attr **ret, struct qd_error *err)
{
    static const char *const kinds[] = {"an int", "a float", "a string", "ints", "floats", "a tensor", "another kind"};
    const struct qd_attr *attr = qd_node_attr(node, name);

    if (attr && attr->kind != kind)
        return qd_error_set(err, QD_INVALID, "%s: expected %s, found %s", name, kinds[kind], kinds[attr->kind]);
    *ret = attr;
    return QD_OK;
}

enum qd_status qd_node_attr_int(const struct qd_node *node, const char *name, int64_t fallback, int64_t *ret,
                                struct qd_error *err)
{
    const struct qd_attr *attr = NULL;
    enum qd_status status = find(node, name, QD_ATTR_INT, &attr, err);

    if (status == QD_OK)
        *ret = attr ? attr->i : fallback;
    return status;
}

enum qd_status qd_node_attr_float(const struct qd_node *node, const char *name, float fallback, float *ret,
                                  struct qd_error *err)
{
    const struct qd_attr *attr = NULL;
    enum qd_status status = find(node, name, QD_ATTR_FLOAT, &attr, err);

    if (status == QD_OK)
        *ret = attr ? attr->f : fallback;
    return status;
}

enum qd_status qd_node_attr_string(const struct qd_node *node, const char *name, const char *fallback, const char **ret,
                                   struct qd_error *err)
{
    const struct qd_attr *attr = NULL;
    enum qd_status status = find(node, name, QD_ATTR_STRING, &attr, err);

    if (status == QD_OK)
        *ret = attr ? attr->s : fallback;
    return status;
}

enum qd_status qd_node_attr_ints(const struct qd_node *node, const char *name, const int64_t **ret, int *ret_n,
                                 struct qd_error *err)
{
    const struct qd_attr *attr = NULL;
    enum qd_status status = find(node, name, QD_ATTR_INTS, &attr, err);

    if (status == QD_OK) {
        *ret = attr ? attr->ints : NULL;
        *ret_n = attr ? attr->n : 0;
    }
    return status;
}

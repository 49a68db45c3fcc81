#include <stdlib.h>

#include "http/internal.h"

enum qd_status qd_entry_named(struct qd_registry *registry, const char *name, const char *version,
                              struct qd_entry **ret, struct qd_error *err)
{
    struct qd_model *model;
    struct qd_entry *entry;
    char *end = NULL;
    long number = version && version[0] ? strtol(version, &end, 10) : 0;
    enum qd_status status;

    if (end && (*end || number < 1 || number > 2147483647))
        return qd_error_set(err, QD_NOT_FOUND, "version: expected a number from 1, found '%.20s'", version);
    status = qd_registry_find(registry, name, &entry, err);
    if (status != QD_OK)
        return status;
    model = qd_entry_model(entry);
    if (model && number && model->config.version != number)
        status = qd_error_set(err, QD_NOT_FOUND, "model '%s' has no version %ld", entry->name, number);
    qd_model_unref(model);
    if (status == QD_OK)
        *ret = entry;
    return status;
}

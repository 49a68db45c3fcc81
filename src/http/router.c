#include <stdio.h>
#include <string.h>

#include "http/internal.h"

const struct qd_route qd_routes[] = {
    {"POST", "/infer", qd_route_infer, true, false},
    {"POST", "/recalibrate", qd_route_recalibrate, false, true},
    {"GET", "/recalibrate/*", qd_route_job, false, false},
    {"DELETE", "/recalibrate/*", qd_route_job_cancel, false, true},
    {"GET", "/models", qd_route_models, false, false},
    {"GET", "/models/*", qd_route_model, false, false},
    {"GET", "/models/*/layers", qd_route_layers, false, false},
    {"GET", "/metrics", qd_route_metrics, false, false},
    {"GET", "/healthz", qd_route_healthz, false, false},
    {"GET", "/readyz", qd_route_readyz, false, false},
    {"GET", "/openapi.yaml", qd_route_openapi, false, false},
};
const int qd_n_routes = QD_ARRAY_SIZE(qd_routes);

/* "/models/x/layers" against "/models/ * /layers" (without the blanks). */
static bool matches(const char *pattern, const char *path, char argument[256])
{
    while (*pattern && *path) {
        size_t length;

        if (*pattern == '*') {
            length = strcspn(path, "/");
            if (!length || length >= 256)
                return false;
            memcpy(argument, path, length);
            argument[length] = 0;
            path += length;
            pattern++;
            continue;
        }
        if (*pattern++ != *path++)
            return false;
    }
    /* A trailing slash is forgiven. */
    if (!*pattern && path[0] == '/' && !path[1])
        path++;
    return !*pattern && !*path;
}

const struct qd_route *qd_route_find(const char *method, const char *path, char argument[256], char ret_allow[64])
{
    ret_allow[0] = 0;
    argument[0] = 0;
    for (int i = 0; i < qd_n_routes; i++) {
        if (!matches(qd_routes[i].path, path, argument))
            continue;
        if (strcmp(qd_routes[i].method, method) == 0 ||
            (strcmp(method, "HEAD") == 0 && strcmp(qd_routes[i].method, "GET") == 0))
            return &qd_routes[i];
        snprintf(ret_allow + strlen(ret_allow), 64 - strlen(ret_allow), "%s%s", ret_allow[0] ? ", " : "",
                 qd_routes[i].method);
    }
    return NULL;
}

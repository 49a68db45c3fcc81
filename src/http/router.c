#include <stdio.h>
#include <string.h>

#include "http/internal.h"

const struct qd_route qd_routes[] = {
    {"GET", "/", qd_route_page, false, false},
    {"POST", "/infer", qd_route_infer, true, false},
    {"POST", "/recalibrate", qd_route_recalibrate, false, true},
    {"GET", "/recalibrate", qd_route_jobs, false, false},
    {"GET", "/recalibrate/*", qd_route_job, false, false},
    {"DELETE", "/recalibrate/*", qd_route_job_cancel, false, true},
    {"GET", "/models", qd_route_models, false, false},
    {"GET", "/models/*", qd_route_model, false, false},
    {"GET", "/models/*/layers", qd_route_layers, false, false},
    {"POST", "/models/*/rollback", qd_route_rollback, false, true},
    {"POST", "/v2/repository/index", qd_route_repository_index, false, false},
    {"POST", "/v2/repository/models/*/load", qd_route_repository_load, false, true},
    {"POST", "/v2/repository/models/*/unload", qd_route_repository_unload, false, true},
    {"GET", "/metrics", qd_route_metrics, false, false},
    {"GET", "/healthz", qd_route_healthz, false, false},
    {"GET", "/readyz", qd_route_readyz, false, false},
    {"GET", "/openapi.yaml", qd_route_openapi, false, false},
    /* the Open Inference Protocol, version 2 */
    {"GET", "/v2", qd_route_v2_server, false, false},
    {"GET", "/v2/health/live", qd_route_v2_live, false, false},
    {"GET", "/v2/health/ready", qd_route_v2_ready, false, false},
    {"GET", "/v2/models/stats", qd_route_v2_all_stats, false, false},
    {"GET", "/v2/models/*", qd_route_v2_model, false, false},
    {"GET", "/v2/models/*/ready", qd_route_v2_model_ready, false, false},
    {"GET", "/v2/models/*/config", qd_route_v2_config, false, false},
    {"GET", "/v2/models/*/stats", qd_route_v2_stats, false, false},
    {"POST", "/v2/models/*/infer", qd_route_v2_infer, true, false},
    {"GET", "/v2/models/*/versions/*", qd_route_v2_model, false, false},
    {"GET", "/v2/models/*/versions/*/ready", qd_route_v2_model_ready, false, false},
    {"GET", "/v2/models/*/versions/*/config", qd_route_v2_config, false, false},
    {"GET", "/v2/models/*/versions/*/stats", qd_route_v2_stats, false, false},
    {"POST", "/v2/models/*/versions/*/infer", qd_route_v2_infer, true, false},
    /* TorchServe's */
    {"GET", "/ping", qd_route_ping, false, false},
    {"POST", "/predictions/*", qd_route_predictions, true, false},
    {"POST", "/predictions/*/*", qd_route_predictions, true, false},
};
const int qd_n_routes = QD_ARRAY_SIZE(qd_routes);

/* "/models/x/layers" against "/models/ * /layers" (without the blanks). */
static bool matches(const char *pattern, const char *path, char arguments[QD_MAX_ARGUMENTS][QD_ARGUMENT_SIZE])
{
    int n = 0;

    while (*pattern && *path) {
        size_t length;

        if (*pattern == '*') {
            length = strcspn(path, "/");
            if (!length || length >= QD_ARGUMENT_SIZE)
                return false;
            memcpy(arguments[n], path, length);
            arguments[n++][length] = 0;
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

const struct qd_route *qd_route_find(const char *method, const char *path,
                                      char arguments[QD_MAX_ARGUMENTS][QD_ARGUMENT_SIZE], char ret_allow[QD_ALLOW_SIZE])
{
    ret_allow[0] = 0;
    for (int i = 0; i < QD_MAX_ARGUMENTS; i++)
        arguments[i][0] = 0;
    for (int i = 0; i < qd_n_routes; i++) {
        if (!matches(qd_routes[i].path, path, arguments))
            continue;
        if (strcmp(qd_routes[i].method, method) == 0 ||
            (strcmp(method, "HEAD") == 0 && strcmp(qd_routes[i].method, "GET") == 0)) {
            ret_allow[0] = 0;
            return &qd_routes[i];
        }
        snprintf(ret_allow + strlen(ret_allow), QD_ALLOW_SIZE - strlen(ret_allow), "%s%s%s", ret_allow[0] ? ", " : "",
                 qd_routes[i].method, strcmp(qd_routes[i].method, "GET") == 0 ? ", HEAD" : "");
    }
    if (ret_allow[0])
        snprintf(ret_allow + strlen(ret_allow), QD_ALLOW_SIZE - strlen(ret_allow), ", OPTIONS");
    return NULL;
}

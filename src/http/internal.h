/* What server.c, the router and the routes share. */
#ifndef QD_HTTP_INTERNAL_H
#define QD_HTTP_INTERNAL_H

#include <jansson.h>
#include <microhttpd.h>

#include "http/http.h"

struct qd_http {
    struct qd_http_options options;
    struct MHD_Daemon *daemon;
    atomic_bool draining;
    atomic_int n_active;
    int port;
};

#define QD_MAX_ARGUMENTS 2
#define QD_ARGUMENT_SIZE 256

struct qd_exchange;
struct qd_infer;

/* Builds its reply with the functions below (or suspends, for /infer). */
typedef void qd_route_run(struct qd_exchange *exchange);

struct qd_route {
    const char *method;
    const char *path; /* segments "*" match any; their texts are exchange->arguments */
    qd_route_run *run;
    bool is_inference; /* counted in the model's request metrics */
    bool changes_state; /* loopback only */
};

extern const struct qd_route qd_routes[];
extern const int qd_n_routes;

/* One request and its reply. */
struct qd_exchange {
    struct qd_http *http;
    struct MHD_Connection *connection;
    const struct qd_route *route;
    char arguments[QD_MAX_ARGUMENTS][QD_ARGUMENT_SIZE];
    struct qd_buf body;
    bool body_too_large, waiting, answered, counted;
    int64_t start_us;
    struct qd_entry *entry; /* the model asked for, once known: its metrics count the request */

    int status;             /* of the reply */
    void *reply;
    size_t reply_size;
    void (*free_reply)(void *reply); /* NULL where there is none */
    int64_t json_size;               /* of a reply of JSON and binary tensors: the JSON's; -1: no such reply */
    const char *content_type;
    char location[64];
    const char *allow;
    int retry_after_s;

    struct qd_infer *infer; /* an inference's own: http/infer.h */
};

int qd_http_status(enum qd_status status);

/* The reply; json is freed. */
void qd_reply_json(struct qd_exchange *exchange, int status, json_t *json);
void qd_reply_text(struct qd_exchange *exchange, int status, const char *content_type, const void *text, size_t size);
/* Takes the buffer's memory. */
void qd_reply_take(struct qd_exchange *exchange, int status, const char *content_type, struct qd_buf *buf);
/* {"error": text, "code": name}; HTTP status from the table, or the one given. */
void qd_reply_error(struct qd_exchange *exchange, enum qd_status status, const struct qd_error *err);
void qd_reply_error_as(struct qd_exchange *exchange, int http_status, const char *code, const char *text);

const char *qd_exchange_query(const struct qd_exchange *exchange, const char *key);
const char *qd_exchange_header(const struct qd_exchange *exchange, const char *key);

/* The route of method and path, or NULL; then *ret_allow lists the methods that the path has (empty: no such path). */
const struct qd_route *qd_route_find(const char *method, const char *path,
                                     char arguments[QD_MAX_ARGUMENTS][QD_ARGUMENT_SIZE], char ret_allow[64]);

/*
 * A body of JSON. QD_INVALID: not JSON, or nested deeper than 32 levels, or more than 100000 elements: what comes from
 * outside takes no more than a few MB as a tree. An empty body is not JSON.
 */
enum qd_status qd_json_read(const void *text, size_t size, json_t **ret, struct qd_error *err);

/* The entry of that name (NULL: the only one) and version ("" or NULL: the one served by default). */
enum qd_status qd_entry_named(struct qd_registry *registry, const char *name, const char *version,
                              struct qd_entry **ret, struct qd_error *err);

/* A suspended inference is over: called in the HTTP thread to write the reply; and when the exchange is freed. */
void qd_infer_reply(struct qd_exchange *exchange);
void qd_infer_free(struct qd_infer *infer);

qd_route_run qd_route_infer, qd_route_recalibrate, qd_route_job, qd_route_job_cancel, qd_route_models, qd_route_model,
    qd_route_layers, qd_route_metrics, qd_route_healthz, qd_route_readyz, qd_route_v2_server, qd_route_v2_live,
    qd_route_v2_model, qd_route_v2_model_ready, qd_route_v2_config, qd_route_v2_stats, qd_route_v2_all_stats,
    qd_route_v2_infer, qd_route_ping, qd_route_predictions;

#endif

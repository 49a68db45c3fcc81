/* What the server, the router and the routes share. */
#ifndef QD_HTTP_INTERNAL_H
#define QD_HTTP_INTERNAL_H

#include <jansson.h>
#include <microhttpd.h>
#include <pthread.h>
#include <time.h>

#include "http/access.h"
#include "http/access_log.h"
#include "http/client.h"
#include "http/encoding.h"
#include "http/http.h"
#include "http/listen.h"
#include "http/tls.h"
#include "http/trace.h"

/* What an event of the server's thread is about: a listener's index, or one of these. */
enum { QD_EVENT_LIBRARY = 1000, QD_EVENT_WAKE, QD_EVENT_LINGERER };

/* What the status page is sent with. */
struct qd_page {
    char policy[352]; /* Content-Security-Policy */
    char tag[24];     /* ETag */
};

struct qd_http {
    struct qd_http_options options;
    struct qd_page page;
    atomic_bool draining, reloading, stopping, is_closed; /* is_closed: no listener is left */
    atomic_int n_active, n_connections;
    atomic_uint turns;
    int epoll_fd, wake_fd, spare_fd;
    pthread_t thread;
    bool has_thread;
    /* The thread's alone from here on. */
    struct MHD_Daemon *daemon, *tls_daemon; /* for plain connections, and with tls_cert for TLS */
    struct qd_listeners listeners;
    struct qd_clients clients;
    struct qd_token token;
    struct qd_tls tls;
    struct qd_access_log log;
    struct qd_ids ids;
    size_t held_bytes; /* of bodies */
    int64_t drain_us; /* when draining began; 0: not yet */
    int64_t indexed_us; /* when the repository was read for an index last */
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
    bool is_inference; /* takes a body; counted in the model's request metrics */
    bool changes_state; /* guarded by the token; without one: loopback and unix sockets only */
};

extern const struct qd_route qd_routes[];
extern const int qd_n_routes;

#define QD_ALLOW_SIZE 64

/* One request and its reply. */
struct qd_exchange {
    struct qd_http *http;
    struct MHD_Connection *connection;
    struct qd_client *client;
    const struct qd_route *route;
    char arguments[QD_MAX_ARGUMENTS][QD_ARGUMENT_SIZE];
    struct qd_buf body; /* decompressed */
    size_t held_bytes;  /* what of http's is this body's */
    struct qd_decoder *decoder;
    bool body_too_large, waiting, answered, counted, begun, must_close;
    enum qd_status body_status; /* of decompression */
    struct qd_error body_error;
    int64_t start_us;
    struct qd_entry *entry; /* the model asked for, once known: its metrics count the request */
    int version, generation, batch_size; /* of the model that answered, for the log; 0: not known */

    /* For the log. */
    char *uri; /* as it came */
    char method[16];
    char request_id[QD_REQUEST_ID_SIZE], trace_id[QD_TRACE_ID_SIZE];
    size_t n_bytes_in, n_bytes_out; /* of the bodies on the wire */

    int status;             /* of the reply */
    void *reply;
    size_t reply_size;
    void (*free_reply)(void *reply); /* NULL where there is none */
    int64_t json_size;               /* of a reply of JSON and binary tensors: the JSON's; -1: no such reply */
    const char *content_type;
    char location[64];
    char allow[QD_ALLOW_SIZE];
    const char *authenticate; /* WWW-Authenticate */
    bool is_preflight;
    bool is_page; /* the answer is the status page */
    int retry_after_s;

    struct qd_infer *infer; /* an inference's own: http/infer.h */
    struct qd_task *task;   /* route_repository.c's */
    qd_route_run *resume;   /* writes the reply once a suspended exchange goes on */
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
/* Hands the reply, with all its headers, to the library. */
enum MHD_Result qd_reply_send(struct qd_exchange *exchange);

const char *qd_exchange_query(const struct qd_exchange *exchange, const char *key);
const char *qd_exchange_header(const struct qd_exchange *exchange, const char *key);

/*
 * Counts more memory that the exchange holds, until it is freed: of all exchanges together there may be max_held_bytes.
 * QD_UNAVAILABLE beyond that. In the HTTP thread.
 */
enum qd_status qd_exchange_hold(struct qd_exchange *exchange, size_t n_bytes, struct qd_error *err);

/* A suspended exchange goes on, in the HTTP thread: any thread. */
void qd_exchange_resume(struct qd_exchange *exchange);

/* The first look at a request, headers only (request.c): what is wrong with it is answered. */
void qd_request_check(struct qd_exchange *exchange, const char *method, const char *path, const char *version);

/* QD_NO_MEMORY. */
enum qd_status qd_page_init(struct qd_page *ret, struct qd_error *err);

/* The library's callbacks. */
void *qd_exchange_new(void *context, const char *uri, struct MHD_Connection *connection);
enum MHD_Result qd_exchange_handle(void *context, struct MHD_Connection *connection, const char *path,
                                   const char *method, const char *version, const char *upload_data,
                                   size_t *upload_size, void **state);
void qd_exchange_finished(void *context, struct MHD_Connection *connection, void **state,
                          enum MHD_RequestTerminationCode code);
void qd_client_on_connection(void *context, struct MHD_Connection *connection, void **socket_context,
                             enum MHD_ConnectionNotificationCode code);

/* The route of method and path, or NULL; then *ret_allow lists the methods that the path has (empty: no such path). */
const struct qd_route *qd_route_find(const char *method, const char *path,
                                     char arguments[QD_MAX_ARGUMENTS][QD_ARGUMENT_SIZE],
                                     char ret_allow[QD_ALLOW_SIZE]);

/*
 * A body of JSON. QD_INVALID: not JSON, or nested deeper than 32 levels, or more than 100000 elements: what comes from
 * outside takes no more than a few MB as a tree. An empty body is not JSON.
 */
enum qd_status qd_json_read(const void *text, size_t size, json_t **ret, struct qd_error *err);

void qd_infer_free(struct qd_infer *infer);
/* How long its last picture waited. */
int64_t qd_infer_queue_us(const struct qd_infer *infer);

/*
 * Suspends the exchange, runs the order as a job, and has reply write the answer: in the HTTP thread, once the job is
 * over well. Whatever fails is answered as an error.
 */
void qd_task_run(struct qd_exchange *exchange, struct qd_job_order *order, qd_route_run *reply);
void qd_task_free(struct qd_task *task);

/*
 * A JSON object that the body holds, or an empty one where there is no body. Its keys are among the known ones, a list
 * that ends with NULL; QD_INVALID says which are.
 */
enum qd_status qd_read_object(const struct qd_exchange *exchange, const char *const *keys, json_t **ret,
                              struct qd_error *err);
/* A whole number of 1 and up of an object, or of the query; 0 where it is not there. */
enum qd_status qd_read_count(const json_t *object, const char *key, int *ret, struct qd_error *err);
/* The version that a text names; NULL or "": 0, the one that is served by default. QD_INVALID: it cannot be one. */
enum qd_status qd_read_version(const char *text, int *ret, struct qd_error *err);

qd_route_run qd_route_page, qd_route_infer, qd_route_recalibrate, qd_route_jobs, qd_route_job, qd_route_job_cancel, qd_route_models, qd_route_model,
    qd_route_layers, qd_route_rollback, qd_route_repository_index, qd_route_repository_load,
    qd_route_repository_unload, qd_route_metrics, qd_route_healthz, qd_route_readyz, qd_route_v2_server,
    qd_route_v2_live, qd_route_v2_ready, qd_route_v2_model, qd_route_v2_model_ready, qd_route_v2_config, qd_route_v2_stats,
    qd_route_v2_all_stats, qd_route_v2_infer, qd_route_ping, qd_route_predictions, qd_route_openapi;

#endif

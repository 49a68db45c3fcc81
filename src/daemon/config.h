/*
 * The configuration: every key is a row of qd_settings[], which gives parsing, range check, the environment twin
 * (QUANTD_MAX_BATCH), the flag (--max-batch), --help and the man page's table. Later sources win: defaults, file,
 * environment, flags.
 */
#ifndef QD_DAEMON_CONFIG_H
#define QD_DAEMON_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "util/buf.h"
#include "util/mem.h"

struct qd_config {
    struct qd_arena arena; /* owns the texts */
    /* [server] */
    const char *listen, *socket_mode;
    long long reuse_port, max_connections, max_connections_per_client, timeout_s, body_timeout_s, drain_s;
    /* [access] */
    const char *admin_token_file, *tls_cert, *tls_key, *cors_origin;
    /* [models] */
    const char *models, *cache;
    long long watch, calibration_threads, monitor_every, evaluation_images;
    /* [batching] */
    long long runners, threads, max_batch, max_delay_us, queue_limit, deadline_ms;
    const char *isa;
    /* [limits] */
    long long max_body_bytes, max_held_bytes, max_header_bytes, max_answer_bytes, max_pixels, max_images;
    /* [log] */
    const char *log_level, *access_log;
};

enum qd_setting_type { QD_SETTING_TEXT, QD_SETTING_INT };

struct qd_setting {
    const char *section, *name;
    enum qd_setting_type type;
    size_t offset;
    long long min, max;
    const char *fallback; /* as it would be written */
    const char *help;
};

extern const struct qd_setting qd_settings[];
extern const int qd_n_settings;

enum qd_status qd_config_init(struct qd_config *config, struct qd_error *err); /* the defaults */
void qd_config_done(struct qd_config *config);

/* QD_INVALID: unknown section or key, or a bad value; the text has file, line, what was expected, the nearest name. */
enum qd_status qd_config_read_file(struct qd_config *config, const char *path, struct qd_error *err);
enum qd_status qd_config_read_environment(struct qd_config *config, struct qd_error *err);
/* One key, of any section, from a flag: name with '-' or '_'. QD_NOT_FOUND: no such key (the nearest is named). */
enum qd_status qd_config_set(struct qd_config *config, const char *name, const char *value, struct qd_error *err);

#endif

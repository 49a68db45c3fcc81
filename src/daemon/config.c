#include "daemon/config.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/file.h"
#include "util/name.h"

#define MAX_FILE_BYTES ((size_t)1 << 20)
#define FIELD(name) offsetof(struct qd_config, name)

const struct qd_setting qd_settings[] = {
    {"server", "listen", QD_SETTING_TEXT, FIELD(listen), 0, 0, "127.0.0.1:8100", "HOST:PORT or unix:/PATH, several with blanks between; port 0: any free one"},
    {"server", "socket_mode", QD_SETTING_TEXT, FIELD(socket_mode), 0, 0, "660", "of a unix socket: who may connect"},
    {"server", "reuse_port", QD_SETTING_INT, FIELD(reuse_port), 0, 1, "0", "1: share the port with another instance; opened once models are loaded"},
    {"server", "max_connections", QD_SETTING_INT, FIELD(max_connections), 1, 100000, "1024", "connections at once; more are answered 503"},
    {"server", "max_connections_per_client", QD_SETTING_INT, FIELD(max_connections_per_client), 0, 100000, "0", "of one IPv4 address or IPv6 /64; 0: no limit"},
    {"server", "timeout_s", QD_SETTING_INT, FIELD(timeout_s), 1, 86400, "60", "of a connection between requests, or that sends nothing of a body"},
    {"server", "body_timeout_s", QD_SETTING_INT, FIELD(body_timeout_s), 1, 86400, "120", "for sending a whole request, and for taking a whole answer"},
    {"server", "drain_s", QD_SETTING_INT, FIELD(drain_s), 0, 3600, "30", "how long SIGTERM waits for open requests"},
    {"access", "admin_token_file", QD_SETTING_TEXT, FIELD(admin_token_file), 0, 0, "", "file with the token for calls that change state; empty: loopback and unix sockets only"},
    {"access", "tls_cert", QD_SETTING_TEXT, FIELD(tls_cert), 0, 0, "", "PEM file of the certificate and its chain; empty: no TLS"},
    {"access", "tls_key", QD_SETTING_TEXT, FIELD(tls_key), 0, 0, "", "PEM file of its key"},
    {"access", "cors_origin", QD_SETTING_TEXT, FIELD(cors_origin), 0, 0, "", "origin whose pages may call; *: all may read and infer; empty: none but quantd's own"},
    {"models", "models", QD_SETTING_TEXT, FIELD(models), 0, 0, "", "model repository; empty: the bundled model"},
    {"models", "cache", QD_SETTING_TEXT, FIELD(cache), 0, 0, "", "scale cache folder; empty: the system's or the user's"},
    {"models", "watch", QD_SETTING_INT, FIELD(watch), 0, 1, "1", "1: what changes in the repository is loaded by itself"},
    {"models", "calibration_threads", QD_SETTING_INT, FIELD(calibration_threads), 0, 1024, "0", "of loads and calibrations beside serving; 0: as threads"},
    {"models", "monitor_every", QD_SETTING_INT, FIELD(monitor_every), 0, 1000000, "500", "one of so many pictures runs in fp32 too, for agreement, saturation and drift in /metrics; 0: none"},
    {"models", "evaluation_images", QD_SETTING_INT, FIELD(evaluation_images), 0, 1000000, "1000", "of a model's evaluation set, run once beside serving, for accuracy in /metrics; 0: none"},
    {"batching", "runners", QD_SETTING_INT, FIELD(runners), 0, 64, "0", "batches that run at once, each with its own threads; 0: one per NUMA node"},
    {"batching", "threads", QD_SETTING_INT, FIELD(threads), 0, 1024, "0", "of a runner; 0: its share of what this process may use"},
    {"batching", "max_batch", QD_SETTING_INT, FIELD(max_batch), 2, 256, "8", "pictures per run"},
    {"batching", "max_delay_us", QD_SETTING_INT, FIELD(max_delay_us), 0, 10000000, "0", "how long a batch waits to fill; 0: not at all"},
    {"batching", "queue_limit", QD_SETTING_INT, FIELD(queue_limit), 1, 1000000, "256", "pictures that may wait per model"},
    {"batching", "deadline_ms", QD_SETTING_INT, FIELD(deadline_ms), 1, 3600000, "30000", "longest wait of a picture"},
    {"batching", "isa", QD_SETTING_TEXT, FIELD(isa), 0, 0, "", "scalar, avx2, avxvnni, vnni or amx; empty: the best"},
    {"limits", "max_answer_bytes", QD_SETTING_INT, FIELD(max_answer_bytes), 1024, 4294967296, "268435456", "of a request's outputs"},
    {"limits", "max_body_bytes", QD_SETTING_INT, FIELD(max_body_bytes), 1024, 4294967296, "33554432", "of a request's body, decompressed"},
    {"limits", "max_held_bytes", QD_SETTING_INT, FIELD(max_held_bytes), 1024, 1099511627776, "1073741824", "of all bodies and answers that are held at once; beyond, 503"},
    {"limits", "max_header_bytes", QD_SETTING_INT, FIELD(max_header_bytes), 1024, 1048576, "16384", "of a request's line and headers; the path gets half of it"},
    {"limits", "max_pixels", QD_SETTING_INT, FIELD(max_pixels), 1, 4294967296, "67108864", "of a picture, by its header"},
    {"limits", "max_images", QD_SETTING_INT, FIELD(max_images), 1, 4096, "64", "of one request"},
    {"log", "log_level", QD_SETTING_TEXT, FIELD(log_level), 0, 0, "info", "error, warning, notice, info or debug"},
    {"log", "access_log", QD_SETTING_TEXT, FIELD(access_log), 0, 0, "", "file for a line of JSON per request, - for standard output; empty: none"},
};
const int qd_n_settings = QD_ARRAY_SIZE(qd_settings);

static enum qd_status set_value(struct qd_config *config, const struct qd_setting *setting, const char *value,
                                struct qd_error *err)
{
    void *field = (char *)config + setting->offset;
    char *end;
    long long number;

    if (setting->type == QD_SETTING_TEXT) {
        *(const char **)field = qd_arena_strdup(&config->arena, value);
        return *(const char **)field ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for the configuration");
    }
    errno = 0;
    number = strtoll(value, &end, 10);
    if (end == value || *end || errno || number < setting->min || number > setting->max)
        return qd_error_set(err, QD_INVALID, "%s: expected %lld to %lld, found '%.60s'", setting->name, setting->min,
                            setting->max, value);
    *(long long *)field = number;
    return QD_OK;
}

enum qd_status qd_config_init(struct qd_config *config, struct qd_error *err)
{
    enum qd_status status = QD_OK;

    memset(config, 0, sizeof(*config));
    for (int i = 0; i < qd_n_settings && status == QD_OK; i++)
        status = set_value(config, &qd_settings[i], qd_settings[i].fallback, err);
    return status;
}

void qd_config_done(struct qd_config *config)
{
    qd_arena_done(&config->arena);
}

/* section NULL: any. */
static const struct qd_setting *find(const char *section, const char *name)
{
    for (int i = 0; i < qd_n_settings; i++)
        if ((!section || strcmp(qd_settings[i].section, section) == 0) && strcmp(qd_settings[i].name, name) == 0)
            return &qd_settings[i];
    return NULL;
}

static enum qd_status unknown(const char *section, const char *name, struct qd_error *err)
{
    const char *names[QD_ARRAY_SIZE(qd_settings)], *nearest;
    const struct qd_setting *elsewhere = find(NULL, name);

    if (elsewhere)
        return qd_error_set(err, QD_NOT_FOUND, "'%.60s' belongs into section [%s], found in [%.40s]", name,
                            elsewhere->section, section);
    for (int i = 0; i < qd_n_settings; i++)
        names[i] = qd_settings[i].name;
    nearest = qd_nearest_name(name, names, (size_t)qd_n_settings);
    return qd_error_set(err, QD_NOT_FOUND, "unknown key '%.60s'%s%s%s", name, nearest ? "; did you mean '" : "",
                        nearest ? nearest : "", nearest ? "'?" : "");
}

struct reader {
    struct qd_config *config;
    struct qd_error *err;
    enum qd_status status;
};

/* inih's callback: 0 makes ini_parse_string return this line's number. */
static int on_pair(void *context, const char *section, const char *name, const char *value)
{
    struct reader *reader = context;
    const struct qd_setting *setting = find(section, name);

    if (reader->status != QD_OK)
        return 0;
    reader->status = setting ? set_value(reader->config, setting, value, reader->err)
                             : unknown(section, name, reader->err);
    return reader->status == QD_OK;
}

enum qd_status qd_config_read_file(struct qd_config *config, const char *path, struct qd_error *err)
{
    struct reader reader = {config, err, QD_OK};
    struct qd_buf buf;
    enum qd_status status = qd_file_read(path, MAX_FILE_BYTES, &buf, err);
    int line;

    if (status != QD_OK)
        return status;
    line = ini_parse_string(buf.size ? (const char *)buf.bytes : "", on_pair, &reader);
    qd_buf_done(&buf);
    if (line == 0)
        return QD_OK;
    if (reader.status == QD_OK)
        qd_error_set(err, QD_INVALID, "expected [section], key = value, or a comment");
    return qd_error_context(err, QD_INVALID, "%s:%d", path, line);
}

enum qd_status qd_config_read_environment(struct qd_config *config, struct qd_error *err)
{
    for (int i = 0; i < qd_n_settings; i++) {
        char name[64] = "QUANTD_";
        const char *value;
        enum qd_status status;

        for (size_t j = 0; qd_settings[i].name[j] && j < 50; j++) {
            char c = qd_settings[i].name[j];

            name[7 + j] = c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
        }
        value = getenv(name);
        if (!value)
            continue;
        status = set_value(config, &qd_settings[i], value, err);
        if (status != QD_OK)
            return qd_error_context(err, status, "environment variable %s", name);
    }
    return QD_OK;
}

enum qd_status qd_config_set(struct qd_config *config, const char *name, const char *value, struct qd_error *err)
{
    char key[64];
    const struct qd_setting *setting;

    snprintf(key, sizeof(key), "%s", name);
    for (char *c = key; *c; c++)
        *c = *c == '-' ? '_' : *c;
    setting = find(NULL, key);
    return setting ? set_value(config, setting, value, err) : unknown("", key, err);
}

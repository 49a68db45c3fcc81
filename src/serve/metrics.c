#include "serve/metrics.h"

#include "config.h"

#include <dirent.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "serve/registry.h"
#include "util/clock.h"

static int bucket_of(int64_t value, int64_t first)
{
    int b = 0;

    while (b < QD_HISTOGRAM_BUCKETS && value > first << b)
        b++;
    return b;
}

void qd_metrics_observe_us(struct qd_metric_histogram *h, int64_t us)
{
    us = us < 0 ? 0 : us;
    atomic_fetch_add(&h->buckets[bucket_of(us, 100)], 1);
    atomic_fetch_add(&h->sum, (unsigned long long)us);
}

void qd_metrics_observe_size(struct qd_metric_histogram *h, int size)
{
    atomic_fetch_add(&h->buckets[bucket_of(size, 1)], 1);
    atomic_fetch_add(&h->sum, (unsigned long long)size);
}

void qd_metrics_observe_batch(struct qd_entry *entry, int n, int64_t decode_us, int64_t compute_us)
{
    struct qd_version_stats *stats = &entry->stats;

    atomic_fetch_add(&entry->metrics->images, (unsigned long long)n);
    atomic_fetch_add(&stats->batches[n].n, 1);
    atomic_fetch_add(&stats->batches[n].decode_us, (unsigned long long)decode_us);
    atomic_fetch_add(&stats->batches[n].compute_us, (unsigned long long)compute_us);
    atomic_store(&stats->last_inference_unix_us, qd_unix_time_us());
    qd_metrics_observe_size(&entry->metrics->batch_size, n);
    qd_metrics_observe_us(&entry->metrics->stage_us[QD_STAGE_DECODE], decode_us);
    qd_metrics_observe_us(&entry->metrics->stage_us[QD_STAGE_COMPUTE], compute_us);
}

void qd_metrics_observe_request(struct qd_entry *entry, int http_status, int64_t us, int64_t queue_us)
{
    struct qd_version_stats *stats = &entry->stats;
    struct qd_metrics *metrics = entry->metrics;
    bool is_good = http_status < 400;

    if (http_status < 100 || http_status >= QD_N_CODES)
        return;
    atomic_fetch_add(&metrics->requests[http_status], 1);
    atomic_fetch_add(is_good ? &stats->succeeded.n : &stats->failed.n, 1);
    atomic_fetch_add(is_good ? &stats->succeeded.us : &stats->failed.us, (unsigned long long)us);
    if (is_good) {
        atomic_fetch_add(&stats->queue.n, 1);
        atomic_fetch_add(&stats->queue.us, (unsigned long long)queue_us);
    }
    qd_metrics_observe_us(&metrics->request_us, us);
    if (http_status == 429)
        atomic_fetch_add(&metrics->rejected[QD_REJECT_FULL], 1);
    else if (http_status == 503)
        atomic_fetch_add(&metrics->rejected[QD_REJECT_UNAVAILABLE], 1);
    else if (http_status >= 400 && http_status < 500)
        atomic_fetch_add(&metrics->rejected[QD_REJECT_INVALID], 1);
}

void qd_metrics_observe_respond(struct qd_entry *entry, int64_t us)
{
    atomic_fetch_add(&entry->stats.respond.n, 1);
    atomic_fetch_add(&entry->stats.respond.us, (unsigned long long)us);
    qd_metrics_observe_us(&entry->metrics->stage_us[QD_STAGE_RESPOND], us);
}

/* Where a metric prints its samples, for one entry and its model (NULL while none has loaded). */
struct printer {
    struct qd_buf *out;
    struct qd_error *err;
    enum qd_status status;
    char label[2 * QD_MODEL_NAME_SIZE + 16]; /* model="..." */
    struct qd_entry *entry;
    struct qd_model *model;
    bool monitors;
};

/* What a row of the table says of a metric. */
struct metric {
    const char *name, *type, *help;
    void (*print)(struct printer *p, const struct metric *metric);
    size_t at; /* where a printer of several metrics finds this one; else 0 */
};

#define PRINT(p, ...)                                                                                                  \
    do {                                                                                                               \
        if ((p)->status == QD_OK)                                                                                      \
            (p)->status = qd_buf_printf((p)->out, (p)->err, __VA_ARGS__);                                              \
    } while (0)

static void escape_label(const char *text, char *to, size_t size)
{
    size_t n = 0;

    for (; *text && n + 3 < size; text++) {
        if (*text == '"' || *text == '\\')
            to[n++] = '\\';
        if (*text == '\n') {
            to[n++] = '\\';
            to[n++] = 'n';
        } else {
            to[n++] = *text;
        }
    }
    to[n] = 0;
}

static void print_histogram(struct printer *p, const char *name, const char *more, struct qd_metric_histogram *h,
                            double first, int n_buckets, double unit)
{
    unsigned long long total = 0;

    for (int b = 0; b < QD_HISTOGRAM_BUCKETS; b++) {
        total += atomic_load(&h->buckets[b]);
        if (b < n_buckets)
            PRINT(p, "%s_bucket{%s%s,le=\"%.9g\"} %llu\n", name, p->label, more, first * (double)(1ull << b), total);
    }
    total += atomic_load(&h->buckets[QD_HISTOGRAM_BUCKETS]);
    PRINT(p, "%s_bucket{%s%s,le=\"+Inf\"} %llu\n", name, p->label, more, total);
    PRINT(p, "%s_sum{%s%s} %.9g\n", name, p->label, more, (double)atomic_load(&h->sum) * unit);
    PRINT(p, "%s_count{%s%s} %llu\n", name, p->label, more, total);
}

static void print_requests(struct printer *p, const struct metric *metric)
{
    for (int code = 100; code < QD_N_CODES; code++) {
        unsigned long long n = atomic_load(&p->entry->metrics->requests[code]);

        if (n || code == 200)
            PRINT(p, "%s{%s,code=\"%d\"} %llu\n", metric->name, p->label, code, n);
    }
}

static void print_images(struct printer *p, const struct metric *metric)
{
    PRINT(p, "%s{%s} %llu\n", metric->name, p->label, (unsigned long long)atomic_load(&p->entry->metrics->images));
}

static void print_request_seconds(struct printer *p, const struct metric *metric)
{
    print_histogram(p, metric->name, "", &p->entry->metrics->request_us, 1e-4, 18, 1e-6);
}

static void print_stage_seconds(struct printer *p, const struct metric *metric)
{
    static const char *const stages[QD_N_STAGES] = {"queue", "decode", "compute", "respond"};

    for (int s = 0; s < QD_N_STAGES; s++) {
        char more[32];

        snprintf(more, sizeof(more), ",stage=\"%s\"", stages[s]);
        print_histogram(p, metric->name, more, &p->entry->metrics->stage_us[s], 1e-4, 18, 1e-6);
    }
}

static void print_batch_size(struct printer *p, const struct metric *metric)
{
    print_histogram(p, metric->name, "", &p->entry->metrics->batch_size, 1, 7, 1);
}

static void print_queue(struct printer *p, const struct metric *metric)
{
    PRINT(p, "%s{%s} %lld\n", metric->name, p->label, (long long)atomic_load(&p->entry->metrics->queue_images));
}

static void print_rejected(struct printer *p, const struct metric *metric)
{
    static const char *const reasons[QD_N_REJECTS] = {"queue_full", "deadline", "unavailable", "invalid", "client_gone"};

    for (int r = 0; r < QD_N_REJECTS; r++)
        PRINT(p, "%s{%s,reason=\"%s\"} %llu\n", metric->name, p->label, reasons[r],
              (unsigned long long)atomic_load(&p->entry->metrics->rejected[r]));
}

static void print_accuracy(struct printer *p, const struct metric *metric)
{
    const struct qd_accuracy *a;

    if (!p->model)
        return;
    a = qd_model_evaluation(p->model);
    a = a ? a : &p->model->result.scales->gate;
    PRINT(p, "%s{%s,precision=\"int8\",metric=\"agreement\"} %.6g\n", metric->name, p->label, a->agreement);
    if (isfinite(a->fp32_top1)) {
        PRINT(p, "%s{%s,precision=\"fp32\",metric=\"top1\"} %.6g\n", metric->name, p->label, a->fp32_top1);
        PRINT(p, "%s{%s,precision=\"int8\",metric=\"top1\"} %.6g\n", metric->name, p->label, a->int8_top1);
    }
}

static void print_sqnr(struct printer *p, const struct metric *metric)
{
    if (p->model)
        PRINT(p, "%s{%s} %.6g\n", metric->name, p->label, p->model->result.scales->gate.sqnr_db);
}

static void print_layer_value(struct printer *p, const struct metric *metric, const char *layer, double value)
{
    char escaped[1024];

    escape_label(layer, escaped, sizeof(escaped));
    if (isfinite(value))
        PRINT(p, "%s{%s,layer=\"%s\"} %.6g\n", metric->name, p->label, escaped, value);
}

static void print_layer_sqnr(struct printer *p, const struct metric *metric)
{
    for (size_t i = 0; p->model && i < p->model->result.scales->n_values; i++) {
        const struct qd_value_scale *v = &p->model->result.scales->values[i];

        print_layer_value(p, metric, v->name, v->cumulative_db);
    }
}

static void print_gate(struct printer *p, const struct metric *metric)
{
    if (p->model)
        PRINT(p, "%s{%s} %d\n", metric->name, p->label, p->model->result.scales->gate_passed);
}

static void print_generation(struct printer *p, const struct metric *metric)
{
    if (p->model)
        PRINT(p, "%s{%s} %d\n", metric->name, p->label, p->model->generation);
}

static void print_timestamp(struct printer *p, const struct metric *metric)
{
    if (p->model)
        PRINT(p, "%s{%s} %.3f\n", metric->name, p->label, (double)p->model->calibrated_unix_us / 1e6);
}

static void print_calibration_seconds(struct printer *p, const struct metric *metric)
{
    if (p->model)
        PRINT(p, "%s{%s} %.6g\n", metric->name, p->label, p->model->result.seconds);
}

/* Counters of the name, so that they go on over a swap; but no longer than something serves. */
static void print_shadow(struct printer *p, const struct metric *metric)
{
    atomic_ullong *count = (void *)((char *)p->entry->metrics + metric->at);

    if (p->model && p->monitors)
        PRINT(p, "%s{%s} %llu\n", metric->name, p->label, (unsigned long long)atomic_load(count));
}

/* What the monitor saw of the model: gauges, which begin anew with each generation. NULL before the first picture. */
static const struct qd_live *live_of(const struct printer *p)
{
    return p->model ? atomic_load(&p->model->live) : NULL;
}

static double double_at(const void *figures, size_t at)
{
    double value;

    memcpy(&value, (const char *)figures + at, sizeof(value));
    return value;
}

static void print_live(struct printer *p, const struct metric *metric)
{
    const struct qd_live *live = live_of(p);
    struct qd_live_figures figures;
    double value;

    if (!live)
        return;
    qd_live_read(live, &figures);
    value = double_at(&figures, metric->at);
    if (isfinite(value))
        PRINT(p, "%s{%s} %.6g\n", metric->name, p->label, value);
}

static void print_live_layers(struct printer *p, const struct metric *metric)
{
    const struct qd_live *live = live_of(p);

    for (int i = 0; live && i < qd_live_n_layers(live); i++) {
        struct qd_live_layer figures;

        qd_live_layer(live, i, &figures);
        print_layer_value(p, metric, figures.name, double_at(&figures, metric->at));
    }
}

static const struct metric qd_metric_defs[] = {
    {"quantd_requests_total", "counter", "Inference requests by HTTP status.", print_requests, 0},
    {"quantd_images_total", "counter", "Pictures that went through the network.", print_images, 0},
    {"quantd_request_seconds", "histogram", "Time from a request's last byte to its answer.", print_request_seconds, 0},
    {"quantd_stage_seconds", "histogram", "Time of a request's stages; decode and compute are per batch.", print_stage_seconds, 0},
    {"quantd_batch_size", "histogram", "Pictures per run of the network.", print_batch_size, 0},
    {"quantd_queue_images", "gauge", "Pictures waiting.", print_queue, 0},
    {"quantd_rejected_total", "counter", "Requests refused, by reason.", print_rejected, 0},
    {"quantd_model_accuracy", "gauge", "Share of right answers on the evaluation set, and agreement with fp32.", print_accuracy, 0},
    {"quantd_model_sqnr_db", "gauge", "Output SQNR of int8 against fp32 on held-out pictures.", print_sqnr, 0},
    {"quantd_layer_sqnr_db", "gauge", "SQNR of each tensor of the int8 run against the fp32 run.", print_layer_sqnr, 0},
    {"quantd_model_gate_passed", "gauge", "1 when the scales in use passed their gate.", print_gate, 0},
    {"quantd_calibration_generation", "gauge", "Which calibration of this model is in use.", print_generation, 0},
    {"quantd_calibration_timestamp_seconds", "gauge", "When the scales in use were put in place.", print_timestamp, 0},
    {"quantd_calibration_seconds", "gauge", "How long the last calibration (or its cache) took.", print_calibration_seconds, 0},
    {"quantd_shadow_images_total", "counter", "Served pictures that ran in fp32 too.", print_shadow, offsetof(struct qd_metrics, shadow_images)},
    {"quantd_shadow_agreements_total", "counter", "Those for which int8 had served the same top class.", print_shadow, offsetof(struct qd_metrics, shadow_agreements)},
    {"quantd_shadow_dropped_total", "counter", "Served pictures that should have, but the monitor was busy.", print_shadow, offsetof(struct qd_metrics, shadow_dropped)},
    {"quantd_shadow_agreement_ratio", "gauge", "Share of agreements among the last 1000 or so.", print_live, offsetof(struct qd_live_figures, agreement)},
    {"quantd_shadow_sqnr_db", "gauge", "Output SQNR of what was served against fp32, over the same.", print_live, offsetof(struct qd_live_figures, sqnr_db)},
    {"quantd_drift", "gauge", "Population stability index of live activations against calibration, of the layer that drifts most: below 0.1 alike, above 0.25 changed.", print_live, offsetof(struct qd_live_figures, drift)},
    {"quantd_layer_drift", "gauge", "The same of each tensor.", print_live_layers, offsetof(struct qd_live_layer, drift)},
    {"quantd_layer_saturation_ratio", "gauge", "Share of a tensor's values beyond its levels, live.", print_live_layers, offsetof(struct qd_live_layer, saturation)},
    {"quantd_layer_saturation_baseline_ratio", "gauge", "The same of the pictures of the calibration.", print_live_layers, offsetof(struct qd_live_layer, baseline)},
};

/* When the system was started, seconds since 1970; 0 where it does not say. */
static unsigned long long boot_time(void)
{
    unsigned long long seconds = 0;
    FILE *file = fopen("/proc/stat", "re");
    char line[4096];

    while (file && fgets(line, sizeof(line), file) && sscanf(line, "btime %llu", &seconds) != 1)
        ;
    if (file)
        fclose(file);
    return seconds;
}

static int count_open_files(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int n = -3; /* ".", ".." and the folder itself */

    while (folder && readdir(folder))
        n++;
    if (folder)
        closedir(folder);
    return n;
}

/* The standard process metrics, from /proc. */
static void print_process(struct printer *p)
{
    unsigned long user = 0, system = 0, virtual_bytes = 0;
    double ticks = (double)sysconf(_SC_CLK_TCK);
    FILE *file = fopen("/proc/self/stat", "re");
    struct rlimit files = {0, 0};
    unsigned long long start = 0;
    long pages = 0;

    if (file) {
        if (fscanf(file, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %llu %lu %ld",
                   &user, &system, &start, &virtual_bytes, &pages) != 5)
            user = system = 0;
        fclose(file);
    }
    getrlimit(RLIMIT_NOFILE, &files);
    {
        const struct {
            const char *name, *type, *help;
            double value;
        } rows[] = {
            {"process_cpu_seconds_total", "counter", "User and system CPU time.", (double)(user + system) / ticks},
            {"process_resident_memory_bytes", "gauge", "Resident memory.", (double)(pages * sysconf(_SC_PAGESIZE))},
            {"process_virtual_memory_bytes", "gauge", "Virtual memory.", (double)virtual_bytes},
            {"process_start_time_seconds", "gauge", "When it started, since 1970.",
             (double)boot_time() + (double)start / ticks},
            {"process_open_fds", "gauge", "Open file descriptors.", (double)count_open_files()},
            {"process_max_fds", "gauge", "How many may be open.", (double)files.rlim_cur},
        };

        for (size_t i = 0; i < QD_ARRAY_SIZE(rows); i++)
            PRINT(p, "# HELP %s %s\n# TYPE %s %s\n%s %.15g\n", rows[i].name, rows[i].help, rows[i].name, rows[i].type,
                  rows[i].name, rows[i].value);
    }
}

enum qd_status qd_metrics_print(struct qd_registry *registry, const char *isa, struct qd_buf *out, struct qd_error *err)
{
    struct printer p = {.out = out,
                        .err = err,
                        .status = QD_OK,
                        .monitors = qd_registry_options(registry)->monitor_every > 0};

    for (size_t m = 0; m < QD_ARRAY_SIZE(qd_metric_defs); m++) {
        const struct metric *metric = &qd_metric_defs[m];

        PRINT(&p, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help, metric->name, metric->type);
        for (int i = 0; i < qd_registry_n_entries(registry); i++) {
            struct qd_entry_status status;
            char name[2 * QD_MODEL_NAME_SIZE];

            /* Metrics are of the name: one of its entries stands for all. */
            p.entry = qd_registry_entry(registry, i);
            qd_entry_status(p.entry, &status);
            if (!status.is_served)
                continue;
            p.model = qd_entry_model(p.entry);
            escape_label(p.entry->name, name, sizeof(name));
            snprintf(p.label, sizeof(p.label), "model=\"%s\"", name);
            metric->print(&p, metric);
            qd_model_unref(p.model);
        }
    }
    PRINT(&p, "# HELP quantd_build_info What runs here.\n# TYPE quantd_build_info gauge\n"
              "quantd_build_info{version=\"%s\",isa=\"%s\"} 1\n", PACKAGE_VERSION, isa);
    print_process(&p);
    return p.status;
}

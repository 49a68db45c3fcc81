#include "daemon/daemon.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <config.h>
#include "daemon/notify.h"
#include "daemon/watch.h"
#include "http/http.h"
#include "quant/cache.h"
#include "serve/evaluator.h"
#include "serve/repository.h"
#include "util/clock.h"
#include "util/file.h"
#include "util/log.h"
#include "util/numa.h"

struct qd_daemon {
    const struct qd_config *config;
    const struct qd_kernels *kernels;
    struct qd_registry *registry;
    struct qd_jobs *jobs;
    struct qd_evaluator *evaluator;
    struct qd_http *http;
    struct qd_watch *watch;
    char cache[4096], models[4096];
    /* Start-up, SIGHUP and changed files load in a thread, so that signals are answered meanwhile. */
    pthread_t loader;
    bool loading_joinable;
    atomic_bool loading, stop_loading;
    struct qd_refresh_result loaded; /* the loader's until loading is false */
    enum qd_reload reload;
    enum { NOT_AGAIN, AGAIN_CHANGED, AGAIN_ALL } again; /* asked for while it was loading */
    bool first_load;
    unsigned turns_shown;
};

static enum qd_status find_level(const char *name, enum qd_log_level *ret, struct qd_error *err)
{
    static const struct {
        const char *name;
        enum qd_log_level level;
    } levels[] = {{"error", QD_LOG_ERROR}, {"warning", QD_LOG_WARNING}, {"notice", QD_LOG_NOTICE},
                  {"info", QD_LOG_INFO},   {"debug", QD_LOG_DEBUG}};

    for (size_t i = 0; i < QD_ARRAY_SIZE(levels); i++) {
        if (strcmp(levels[i].name, name) == 0) {
            *ret = levels[i].level;
            return QD_OK;
        }
    }
    return qd_error_set(err, QD_INVALID, "log_level: expected error, warning, notice, info or debug, found '%.40s'", name);
}

/* The repository asked for, or the bundled model: installed, or beside an uninstalled program. */
static void find_models(const struct qd_config *config, char *path, size_t size)
{
    static const char *const beside[] = {"../models", "models", "../../models"};
    char program[4096];
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
    char *slash;

    snprintf(path, size, "%s", config->models[0] ? config->models : QD_DATA_DIR "/models");
    if (config->models[0] || qd_is_folder(path) || n <= 0)
        return;
    program[n] = 0;
    slash = strrchr(program, '/');
    if (slash)
        *slash = 0;
    for (size_t i = 0; i < QD_ARRAY_SIZE(beside); i++) {
        char candidate[4096];

        if (snprintf(candidate, sizeof(candidate), "%s/%s", program, beside[i]) >= (int)sizeof(candidate))
            continue;
        if (qd_is_folder(candidate)) {
            snprintf(path, size, "%.*s", (int)size - 1, candidate);
            return;
        }
    }
}

/* The folder asked for, systemd's, the system's if it can be written, else the user's. */
static void find_cache(const struct qd_config *config, char *path, size_t size)
{
    const char *systemd = getenv("CACHE_DIRECTORY"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

    if (config->cache[0])
        snprintf(path, size, "%s", config->cache);
    else if (systemd)
        snprintf(path, size, "%s", systemd);
    else if (access(QD_CACHE_DIR, W_OK) == 0)
        snprintf(path, size, "%s", QD_CACHE_DIR);
    else if (xdg && xdg[0] == '/')
        snprintf(path, size, "%s/quantd", xdg);
    else
        snprintf(path, size, "%s/.cache/quantd", home ? home : "/tmp");
}

static bool on_progress(void *context, const struct qd_progress_state *state)
{
    struct qd_daemon *daemon = context;

    (void)state;
    return !atomic_load(&daemon->stop_loading);
}

static bool is_stopped(void *context)
{
    struct qd_daemon *daemon = context;

    return atomic_load(&daemon->stop_loading);
}

static void *load_all(void *context)
{
    struct qd_daemon *daemon = context;
    const struct qd_serve_options *serve = qd_registry_options(daemon->registry);
    struct qd_progress progress = {.step = on_progress, .is_cancelled = is_stopped, .context = daemon};
    struct qd_model_options options = serve->model;
    struct qd_error err = {""};

    options.progress = &progress;
    if (serve->calibration_threads && !daemon->first_load)
        options.n_threads = serve->calibration_threads;
    if (qd_repository_refresh(daemon->registry, daemon->reload, &options, &daemon->loaded, &err) != QD_OK)
        qd_log(QD_LOG_ERROR, "%s; what serves goes on", err.text);
    atomic_store(&daemon->loading, false);
    /* The main thread sleeps in sigwait: this wakes it. */
    kill(getpid(), SIGUSR1);
    return NULL;
}

static void start_loading(struct qd_daemon *daemon, enum qd_reload reload)
{
    if (atomic_load(&daemon->loading)) {
        daemon->again = reload == QD_RELOAD_ALL || daemon->again == AGAIN_ALL ? AGAIN_ALL : AGAIN_CHANGED;
        return;
    }
    if (daemon->loading_joinable)
        pthread_join(daemon->loader, NULL);
    daemon->reload = reload;
    daemon->again = NOT_AGAIN;
    atomic_store(&daemon->loading, true);
    daemon->loading_joinable = pthread_create(&daemon->loader, NULL, load_all, daemon) == 0;
    if (!daemon->loading_joinable) {
        atomic_store(&daemon->loading, false);
        qd_log(QD_LOG_ERROR, "cannot start a thread to load models");
    }
}

/* In the watch's thread; the main one takes it from there. */
static void on_change(void *context)
{
    (void)context;
    kill(getpid(), SIGUSR2);
}

static void start_watch(struct qd_daemon *daemon)
{
    struct qd_error err = {""};

    if (daemon->config->watch && qd_watch_new(daemon->models, on_change, NULL, &daemon->watch, &err) != QD_OK)
        qd_log(QD_LOG_WARNING, "changes of the model repository are not noticed, SIGHUP loads them: %s", err.text);
}

static enum qd_status make_registry(struct qd_daemon *daemon, struct qd_error *err)
{
    const struct qd_config *config = daemon->config;
    int n_runners = config->runners ? (int)config->runners : qd_numa_n_nodes(QD_SYSFS);
    int share = qd_default_threads() / n_runners;
    struct qd_serve_options options = {
        .repository = daemon->models,
        .calibration_threads = (int)config->calibration_threads,
        .model = {.n_threads = config->threads ? (int)config->threads : share > 1 ? share : 1,
                  .max_batch = (int)config->max_batch,
                  .kernels = daemon->kernels,
                  .cache_folder = daemon->cache,
                  .limits = {config->max_pixels}},
        .n_runners = n_runners,
        .max_delay_us = (int)config->max_delay_us,
        .queue_limit = (int)config->queue_limit,
        .deadline_ms = (int)config->deadline_ms,
        .monitor_every = (int)config->monitor_every,
    };
    enum qd_status status = qd_registry_new(&options, &daemon->registry, err);

    find_models(config, daemon->models, sizeof(daemon->models));
    if (status == QD_OK)
        status = qd_repository_scan(daemon->registry, err);
    if (status == QD_OK)
        qd_repository_expect(daemon->registry);
    if (status == QD_OK && !(daemon->jobs = qd_jobs_new(daemon->registry)))
        status = qd_error_set(err, QD_NO_MEMORY, "no memory for jobs");
    if (status == QD_OK)
        status = qd_evaluator_new(daemon->registry, (int)config->evaluation_images, &daemon->evaluator, err);
    return status;
}

static struct qd_http_options http_options(const struct qd_config *config)
{
    return (struct qd_http_options){
        .listen = config->listen,
        .socket_mode = config->socket_mode,
        .reuse_port = config->reuse_port != 0,
        .admin_token_file = config->admin_token_file,
        .tls_cert = config->tls_cert,
        .tls_key = config->tls_key,
        .cors_origin = config->cors_origin,
        .access_log = config->access_log,
        .max_body_bytes = (size_t)config->max_body_bytes,
        .max_held_bytes = (size_t)config->max_held_bytes,
        .max_header_bytes = (size_t)config->max_header_bytes,
        .max_answer_bytes = (size_t)config->max_answer_bytes,
        .max_pixels = config->max_pixels,
        .max_connections = (int)config->max_connections,
        .max_connections_per_client = (int)config->max_connections_per_client,
        .timeout_s = (int)config->timeout_s,
        .body_timeout_s = (int)config->body_timeout_s,
        .max_images = (int)config->max_images,
    };
}

enum qd_status qd_daemon_check(const struct qd_config *config, struct qd_error *err)
{
    struct qd_http_options http = http_options(config);
    const struct qd_kernels *kernels;
    enum qd_log_level level = QD_LOG_INFO;
    char models[4096];
    enum qd_status status = find_level(config->log_level, &level, err);

    find_models(config, models, sizeof(models));
    if (status == QD_OK)
        status = qd_kernels_named(config->isa, &kernels, err);
    if (status == QD_OK && !qd_is_folder(models))
        status = qd_error_set(err, QD_NOT_FOUND, "models: '%s' is not a folder", models);
    if (status == QD_OK)
        status = qd_http_check(&http, err);
    return status;
}

static enum qd_status start(struct qd_daemon *daemon, struct qd_error *err)
{
    const struct qd_config *config = daemon->config;
    enum qd_log_level level = QD_LOG_INFO;
    enum qd_status status = find_level(config->log_level, &level, err);
    struct qd_http_options http = http_options(config);

    if (status != QD_OK)
        return status;
    qd_log_set_level(level);
    find_cache(config, daemon->cache, sizeof(daemon->cache));
    qd_cache_tidy(daemon->cache);
    status = qd_kernels_named(config->isa, &daemon->kernels, err);
    if (status == QD_OK)
        status = make_registry(daemon, err);
    if (status != QD_OK)
        return status;
    http.registry = daemon->registry;
    http.jobs = daemon->jobs;
    http.isa = daemon->kernels->name;
    return qd_http_start(&http, &daemon->http, err);
}

/* From here on a signal ends the process wherever it is. */
static void force_exit(int signal_number)
{
    static const char text[] = "quantd: second signal: ended at once\n";

    (void)signal_number;
    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    _exit(1);
}

static void let_signals_force(void)
{
    struct sigaction action = {.sa_handler = force_exit};
    sigset_t ends;

    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    pthread_sigmask(SIG_UNBLOCK, &ends, NULL);
}

/* Open requests may finish, for drain_s at most. */
static void drain(struct qd_daemon *daemon)
{
    int64_t until = qd_now_us() + daemon->config->drain_s * 1000000;
    struct timespec tick = {0, 20000000};

    let_signals_force();
    qd_log(QD_LOG_NOTICE, "stopping: %d open requests", qd_http_n_active(daemon->http));
    qd_notify("STOPPING=1");
    qd_registry_drain(daemon->registry);
    qd_evaluator_end(daemon->evaluator);
    qd_http_drain(daemon->http);
    while (!qd_http_is_drained(daemon->http) && qd_now_us() < until)
        nanosleep(&tick, NULL);
    if (qd_http_n_active(daemon->http))
        qd_log(QD_LOG_WARNING, "drain_s is over: %d requests are given up", qd_http_n_active(daemon->http));
}

/* False: the server cannot go on. */
static bool on_loaded(struct qd_daemon *daemon)
{
    const struct qd_refresh_result *r = &daemon->loaded;
    struct qd_error err = {""};

    if (daemon->first_load && !r->n_serving) {
        qd_log(QD_LOG_ERROR, "no model could be loaded");
        return false;
    }
    if (daemon->first_load && qd_http_open(daemon->http, &err) != QD_OK) {
        qd_log(QD_LOG_ERROR, "%s", err.text);
        return false;
    }
    daemon->first_load = false;
    if (r->n_wanted || daemon->reload == QD_RELOAD_ALL)
        qd_log(r->n_loaded == r->n_wanted ? QD_LOG_INFO : QD_LOG_WARNING, "%d of %d models loaded", r->n_loaded,
               r->n_wanted);
    if (daemon->again != NOT_AGAIN)
        start_loading(daemon, daemon->again == AGAIN_ALL ? QD_RELOAD_ALL : QD_RELOAD_CHANGED);
    else
        qd_notify("READY=1");
    return true;
}

static void reload(struct qd_daemon *daemon)
{
    qd_log(QD_LOG_NOTICE, "SIGHUP: loading the models, token and certificate again");
    qd_notify_reloading();
    qd_http_reload(daemon->http);
    start_loading(daemon, QD_RELOAD_ALL);
}

/* Says to the service manager that the server's thread still turns. */
static void show_life(struct qd_daemon *daemon)
{
    unsigned turns = qd_http_turns(daemon->http);

    if (turns != daemon->turns_shown)
        qd_notify("WATCHDOG=1");
    daemon->turns_shown = turns;
}

/* Returns the exit code. */
static int wait_for_signals(struct qd_daemon *daemon, const sigset_t *signals)
{
    int64_t watchdog_us = qd_notify_watchdog_us() / 2;
    int64_t shown_us = qd_now_us();

    for (;;) {
        int64_t left_us = shown_us + watchdog_us - qd_now_us();
        struct timespec tick = {left_us / 1000000, left_us % 1000000 * 1000};
        int signal_number;

        /* Also while signals keep coming. */
        if (watchdog_us && left_us <= 0) {
            show_life(daemon);
            shown_us = qd_now_us();
            continue;
        }
        signal_number = watchdog_us ? sigtimedwait(signals, NULL, &tick) : sigwaitinfo(signals, NULL);
        if (signal_number == SIGHUP) {
            reload(daemon);
        } else if (signal_number == SIGUSR2) {
            qd_log(QD_LOG_INFO, "the model repository changed");
            start_loading(daemon, QD_RELOAD_CHANGED);
        } else if (signal_number == SIGUSR1) {
            if (!atomic_load(&daemon->loading) && !on_loaded(daemon))
                return 1;
        } else if (signal_number == SIGTERM || signal_number == SIGINT) {
            return 0;
        }
    }
}

static void stop(struct qd_daemon *daemon)
{
    atomic_store(&daemon->stop_loading, true);
    qd_watch_free(daemon->watch);
    qd_evaluator_end(daemon->evaluator);
    qd_jobs_stop(daemon->jobs);
    if (daemon->loading_joinable)
        pthread_join(daemon->loader, NULL);
    /* Batchers first: they resume every connection that waits; then the server can close them. */
    qd_registry_stop(daemon->registry);
    qd_http_stop(daemon->http);
    qd_jobs_free(daemon->jobs);
    qd_evaluator_free(daemon->evaluator);
    qd_registry_free(daemon->registry);
}

int qd_daemon_run(const struct qd_config *config)
{
    struct qd_daemon daemon = {.config = config, .first_load = true};
    struct qd_error err = {""};
    char places[1024];
    sigset_t signals;
    int code;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGUSR1);
    sigaddset(&signals, SIGUSR2);
    /* Before any thread starts: all inherit it, only sigwait takes these. */
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (start(&daemon, &err) != QD_OK) {
        qd_log(QD_LOG_ERROR, "%s", err.text);
        stop(&daemon);
        return 1;
    }
    qd_http_places(daemon.http, places, sizeof(places));
    qd_log(QD_LOG_NOTICE, "quantd %s listens on %s, kernels %s, scale cache %s", PACKAGE_VERSION, places,
           daemon.kernels->name, daemon.cache);
    start_watch(&daemon);
    start_loading(&daemon, QD_RELOAD_ALL);
    code = wait_for_signals(&daemon, &signals);
    drain(&daemon);
    stop(&daemon);
    return code;
}

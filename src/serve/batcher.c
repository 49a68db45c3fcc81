#include "serve/batcher.h"

#include <pthread.h>
#include <time.h>

#include "serve/queue.h"
#include "serve/registry.h"
#include "serve/runner.h"
#include "util/clock.h"
#include "util/numa.h"

/* How often a queue is looked through for what is late or gone. */
#define SWEEP_US 20000
/* How often a full queue is looked through for clients that have stopped sending: a system call for each. */
#define MAKE_ROOM_US 50000
/* How long a client that has stopped sending keeps its place, unless somebody else needs it. */
#define GRACE_US 500000
/* How often an idle runner looks whether an old model is still in use. */
#define FORGET_US 100000

struct qd_batcher {
    struct qd_pool *pool;
    struct qd_entry *entry;
    struct qd_queue queue;
    struct qd_batcher *next;
    int n_running;   /* pictures */
    int64_t turn_us; /* the time that it had; one that was idle starts at the pool's */
    int64_t swept_us, made_room_us;
};

struct worker {
    struct qd_pool *pool;
    struct qd_runner *runner;
    pthread_t thread;
    bool is_running;
    bool keeps_old; /* something of a model that is not its entry's any more */
    int64_t forgot_us;
};

struct qd_pool {
    struct qd_batcher_options options;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct qd_batcher *batchers;
    struct worker *workers;
    int64_t turn_us; /* of the batcher that ran last */
    bool stopping;
};

static void call_done(struct qd_request *finished)
{
    while (finished) {
        struct qd_request *request = finished;

        finished = request->more;
        atomic_fetch_sub(&request->model->n_requests, 1);
        pthread_mutex_destroy(&request->results_lock);
        request->done(request);
    }
}

static void count_waiting(struct qd_batcher *b, int change)
{
    atomic_fetch_add(&b->entry->metrics->queue_images, change);
}

/* The lock is held. Returns what is finished, for call_done without the lock. */
static struct qd_request *sweep(struct qd_batcher *b, int64_t now_us, int64_t grace_us)
{
    int n_late = 0, n_gone = 0, before = b->queue.n_images;
    struct qd_request *finished = qd_queue_sweep(&b->queue, now_us, grace_us, &n_late, &n_gone);

    b->swept_us = now_us;
    count_waiting(b, b->queue.n_images - before);
    atomic_fetch_add(&b->entry->metrics->rejected[QD_REJECT_DEADLINE], (unsigned long long)n_late);
    atomic_fetch_add(&b->entry->metrics->rejected[QD_REJECT_GONE], (unsigned long long)n_gone);
    return finished;
}

/* Sweeps the queues whose time it is. */
static struct qd_request *sweep_all(struct qd_pool *pool, int64_t now_us)
{
    struct qd_request *all = NULL;

    for (struct qd_batcher *b = pool->batchers; b; b = b->next) {
        struct qd_request *finished, *last;

        if (!b->queue.n_images || now_us - b->swept_us < SWEEP_US)
            continue;
        finished = last = sweep(b, now_us, GRACE_US);
        while (last && last->more)
            last = last->more;
        if (last) {
            last->more = all;
            all = finished;
        }
    }
    return all;
}

/* Until when a batcher waits for more pictures. */
static int64_t full_at_us(const struct qd_batcher *b)
{
    const struct qd_batcher_options *o = &b->pool->options;

    if (!o->max_delay_us || b->queue.n_images >= o->model.max_batch)
        return 0;
    return qd_queue_due_us(&b->queue, o->max_delay_us);
}

/* The batcher whose turn it is, or NULL; then *ret_until is when to look again. */
static struct qd_batcher *pick(struct qd_pool *pool, int64_t now_us, int64_t *ret_until)
{
    struct qd_batcher *best = NULL;

    for (struct qd_batcher *b = pool->batchers; b; b = b->next) {
        int64_t at;

        if (!b->queue.n_images)
            continue;
        at = full_at_us(b);
        if (at > now_us)
            *ret_until = at < *ret_until ? at : *ret_until;
        else if (!best || b->turn_us < best->turn_us)
            best = b;
    }
    return best;
}

static void wait_until(struct qd_pool *pool, int64_t until_us)
{
    struct timespec t = {until_us / 1000000, until_us % 1000000 * 1000};

    if (until_us == INT64_MAX)
        pthread_cond_wait(&pool->wake, &pool->lock);
    else
        pthread_cond_timedwait(&pool->wake, &pool->lock, &t);
}

/* A model that is an entry's, or that requests still need. */
static bool is_wanted(const struct qd_model *model, void *context)
{
    struct worker *worker = context;

    if (atomic_load(&model->n_requests) > 0) {
        worker->keeps_old = true; /* perhaps: looked at again */
        return true;
    }
    for (const struct qd_batcher *b = worker->pool->batchers; b; b = b->next) {
        struct qd_model *current = qd_entry_model(b->entry);

        qd_model_unref(current);
        if (current == model)
            return true;
    }
    return false;
}

/* The lock is held, but not while memory is given back. */
static void forget_old(struct worker *worker, int64_t now_us)
{
    bool is_monitored;

    worker->keeps_old = false;
    worker->forgot_us = now_us;
    qd_runner_forget(worker->runner, is_wanted, worker);
    pthread_mutex_unlock(&worker->pool->lock);
    qd_runner_free_forgotten(worker->runner);
    is_monitored = qd_monitor_forget_retired(worker->pool->options.monitor);
    pthread_mutex_lock(&worker->pool->lock);
    worker->keeps_old |= is_monitored;
}

/* Until there is a batch to run, or a stop (NULL). */
static struct qd_batcher *next_batch(struct worker *worker, struct qd_slot *slots, int *ret_n)
{
    struct qd_pool *pool = worker->pool;
    struct qd_batcher *b = NULL;

    pthread_mutex_lock(&pool->lock);
    while (!pool->stopping) {
        int64_t now = qd_now_us(), until = INT64_MAX;
        struct qd_request *finished = sweep_all(pool, now);

        if (finished) {
            pthread_mutex_unlock(&pool->lock);
            call_done(finished);
            pthread_mutex_lock(&pool->lock);
            continue;
        }
        if (worker->keeps_old && now - worker->forgot_us >= FORGET_US) {
            forget_old(worker, now);
            continue;
        }
        b = pick(pool, now, &until);
        if (b)
            break;
        if (worker->keeps_old && until > worker->forgot_us + FORGET_US)
            until = worker->forgot_us + FORGET_US;
        wait_until(pool, until);
    }
    if (b) {
        *ret_n = qd_queue_take(&b->queue, qd_now_us(), pool->options.model.max_batch, slots);
        /* What is left is another runner's. */
        if (b->queue.n_images)
            pthread_cond_signal(&pool->wake);
        count_waiting(b, -*ret_n);
        b->n_running += *ret_n;
        pool->turn_us = b->turn_us;
    }
    pthread_mutex_unlock(&pool->lock);
    return b;
}

/* Counts the pictures as done and hands back the requests whose last picture it was. */
static void finish(struct qd_batcher *b, const struct qd_slot *slots, int n, int64_t took_us,
                   const struct qd_batch_times *times)
{
    struct qd_request *finished = NULL;

    pthread_mutex_lock(&b->pool->lock);
    b->n_running -= n;
    b->turn_us += took_us;
    for (int i = 0; i < n; i++) {
        struct qd_request *request = slots[i].request;

        if (times->n) {
            request->batch_size = times->n > request->batch_size ? times->n : request->batch_size;
            request->queue_us = times->start_us - request->submitted_us;
            request->decode_us = times->decode_us;
            request->compute_us = times->compute_us;
        }
        if (++request->n_finished < request->n_images)
            continue;
        request->more = finished;
        finished = request;
    }
    pthread_mutex_unlock(&b->pool->lock);
    call_done(finished);
}

static void *work(void *context)
{
    struct worker *worker = context;
    struct qd_slot slots[QD_MAX_BATCH];
    struct qd_batcher *b;
    int n, n_nodes = qd_numa_n_nodes(QD_SYSFS), number = (int)(worker - worker->pool->workers);

    /* Before its team of threads is made, which inherits it. A runner that serves all nodes is not bound. */
    if (n_nodes > 1 && worker->pool->options.n_runners >= n_nodes)
        qd_numa_bind(QD_SYSFS, number % n_nodes);
    while ((b = next_batch(worker, slots, &n))) {
        int64_t start = qd_now_us();
        struct qd_batch_times times;

        qd_runner_run(worker->runner, slots, n, b->entry->metrics, &times);
        if (times.n)
            qd_metrics_observe_batch(b->entry, times.n, times.decode_us, times.compute_us);
        finish(b, slots, n, qd_now_us() - start, &times);
    }
    return NULL;
}

static enum qd_status start_workers(struct qd_pool *pool, struct qd_error *err)
{
    for (int i = 0; i < pool->options.n_runners; i++) {
        struct worker *worker = &pool->workers[i];
        enum qd_status status;

        worker->pool = pool;
        status = qd_runner_new(&pool->options.model, pool->options.monitor, &worker->runner, err);
        if (status != QD_OK)
            return status;
        if (pthread_create(&worker->thread, NULL, work, worker) != 0)
            return qd_error_set(err, QD_IO, "cannot start a thread");
        worker->is_running = true;
    }
    return QD_OK;
}

enum qd_status qd_pool_new(const struct qd_batcher_options *options, struct qd_pool **ret, struct qd_error *err)
{
    struct qd_pool *pool = qd_alloc(sizeof(*pool));
    pthread_condattr_t attributes;
    enum qd_status status;

    if (!pool || !(pool->workers = qd_alloc_array((size_t)options->n_runners, sizeof(*pool->workers)))) {
        qd_free(pool);
        return qd_error_set(err, QD_NO_MEMORY, "no memory for runners");
    }
    pool->options = *options;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    status = start_workers(pool, err);
    if (status != QD_OK) {
        qd_pool_free(pool);
        return status;
    }
    *ret = pool;
    return QD_OK;
}

void qd_pool_stop(struct qd_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->options.n_runners; i++) {
        if (pool->workers[i].is_running)
            pthread_join(pool->workers[i].thread, NULL);
        pool->workers[i].is_running = false;
        qd_runner_free(pool->workers[i].runner);
        pool->workers[i].runner = NULL;
    }
    for (struct qd_batcher *b = pool->batchers; b; b = b->next) {
        struct qd_request *finished;

        pthread_mutex_lock(&pool->lock);
        count_waiting(b, -b->queue.n_images);
        finished = qd_queue_clear(&b->queue, QD_UNAVAILABLE, "the server is stopping");
        pthread_mutex_unlock(&pool->lock);
        call_done(finished);
    }
}

void qd_pool_free(struct qd_pool *pool)
{
    if (!pool)
        return;
    qd_pool_stop(pool);
    while (pool->batchers) {
        struct qd_batcher *b = pool->batchers;

        pool->batchers = b->next;
        qd_free(b);
    }
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    qd_free(pool->workers);
    qd_free(pool);
}

enum qd_status qd_batcher_new(struct qd_pool *pool, struct qd_entry *entry, struct qd_batcher **ret,
                              struct qd_error *err)
{
    struct qd_batcher *b = qd_alloc(sizeof(*b));

    if (!b)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a queue");
    b->pool = pool;
    b->entry = entry;
    pthread_mutex_lock(&pool->lock);
    b->next = pool->batchers;
    pool->batchers = b;
    pthread_mutex_unlock(&pool->lock);
    *ret = b;
    return QD_OK;
}

/* The lock is held. */
static enum qd_status enqueue(struct qd_batcher *b, struct qd_request *request, struct qd_error *err)
{
    struct qd_pool *pool = b->pool;

    if (pool->stopping)
        return qd_error_set(err, QD_UNAVAILABLE, "the server is stopping");
    if (b->queue.n_images + request->n_images > pool->options.queue_limit)
        return qd_error_set(err, QD_FULL,
                            "the queue of model '%s' holds %d of at most %d pictures, no room for %d more",
                            b->entry->name, b->queue.n_images, pool->options.queue_limit, request->n_images);
    if (!b->queue.n_images && !b->n_running && b->turn_us < pool->turn_us)
        b->turn_us = pool->turn_us;
    qd_queue_push(&b->queue, request);
    count_waiting(b, request->n_images);
    atomic_fetch_add(&request->model->n_requests, 1);
    pthread_cond_signal(&pool->wake);
    return QD_OK;
}

enum qd_status qd_batcher_submit(struct qd_batcher *b, struct qd_request *request, struct qd_error *err)
{
    const struct qd_batcher_options *o = &b->pool->options;
    int64_t timeout_us = (int64_t)o->deadline_ms * 1000;
    struct qd_request *finished = NULL;
    enum qd_status status;

    if (request->n_images > o->queue_limit)
        return qd_error_set(err, QD_TOO_LARGE, "%d pictures in one request: a queue holds at most %d",
                            request->n_images, o->queue_limit);
    if (request->timeout_us > 0 && request->timeout_us < timeout_us)
        timeout_us = request->timeout_us;
    request->submitted_us = qd_now_us();
    request->deadline_us = request->submitted_us + timeout_us;
    request->n_started = request->n_finished = 0;
    pthread_mutex_lock(&b->pool->lock);
    /* What is late or gone makes room first. */
    if (b->queue.n_images + request->n_images > o->queue_limit &&
        request->submitted_us - b->made_room_us >= MAKE_ROOM_US) {
        b->made_room_us = request->submitted_us;
        finished = sweep(b, request->submitted_us, 0);
    }
    pthread_mutex_init(&request->results_lock, NULL);
    status = enqueue(b, request, err);
    pthread_mutex_unlock(&b->pool->lock);
    call_done(finished);
    return status;
}

void qd_batcher_refresh(struct qd_batcher *b)
{
    struct qd_pool *pool = b ? b->pool : NULL;

    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    for (int i = 0; i < pool->options.n_runners; i++)
        pool->workers[i].keeps_old = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

int qd_batcher_load(struct qd_batcher *b)
{
    int n;

    pthread_mutex_lock(&b->pool->lock);
    n = b->queue.n_images + b->n_running;
    pthread_mutex_unlock(&b->pool->lock);
    return n;
}

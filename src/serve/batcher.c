#include "serve/batcher.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "serve/registry.h"
#include "util/clock.h"

/* One picture of a batch. */
struct slot {
    struct qd_request *request;
    int image;
};

struct qd_batcher {
    struct qd_entry *entry;
    struct qd_batcher_options options;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct qd_request *first, *last; /* requests with pictures that have not started */
    int n_waiting, n_running;        /* pictures */
    bool stopping, stale;

    /* the runner's own */
    struct slot *slots;
    struct qd_model *model; /* whose frame it is */
    struct qd_frame *frame;
};

static void pop_first(struct qd_batcher *b)
{
    b->first = b->first->next;
    if (!b->first)
        b->last = NULL;
}

/* Takes up to max_batch pictures of one model, oldest request first. The lock is held. */
static int take_batch(struct qd_batcher *b)
{
    int n = 0;

    while (n < b->options.max_batch && b->first) {
        struct qd_request *request = b->first;

        if (n && request->model != b->slots[0].request->model)
            break;
        b->slots[n].request = request;
        b->slots[n++].image = request->n_started++;
        b->n_waiting--;
        if (request->n_started == request->n_images)
            pop_first(b);
    }
    b->n_running = n;
    return n;
}

static void drop_old_model(struct qd_batcher *b)
{
    struct qd_model *model = qd_entry_model(b->entry);

    if (model != b->model) {
        qd_frame_free(b->frame);
        qd_model_unref(b->model);
        b->frame = NULL;
        b->model = NULL;
    }
    qd_model_unref(model);
}

/* Until there is a batch to run, or a stop. Returns its size, 0 to stop. */
static int wait_for_batch(struct qd_batcher *b)
{
    int n;

    pthread_mutex_lock(&b->lock);
    while (!b->first && !b->stopping) {
        if (b->stale) {
            b->stale = false;
            pthread_mutex_unlock(&b->lock);
            drop_old_model(b);
            pthread_mutex_lock(&b->lock);
            continue;
        }
        pthread_cond_wait(&b->wake, &b->lock);
    }
    if (b->first && !b->stopping && b->options.max_delay_us && b->n_waiting < b->options.max_batch) {
        int64_t until = b->first->submitted_us + b->options.max_delay_us;
        struct timespec t = {until / 1000000, until % 1000000 * 1000};

        while (b->n_waiting < b->options.max_batch && !b->stopping)
            if (pthread_cond_timedwait(&b->wake, &b->lock, &t) == ETIMEDOUT)
                break;
    }
    n = b->stopping ? 0 : take_batch(b);
    pthread_mutex_unlock(&b->lock);
    atomic_store(&b->entry->metrics->queue_images, b->n_waiting);
    return n;
}

/* The frame belongs to one generation; a swap makes a new one. */
static enum qd_status use_model(struct qd_batcher *b, struct qd_model *model, struct qd_error *err)
{
    struct qd_frame *frame;
    enum qd_status status;

    if (model == b->model)
        return QD_OK;
    status = qd_frame_new(model->result.int8, b->options.n_threads, &frame, err);
    if (status != QD_OK)
        return status;
    qd_frame_free(b->frame);
    qd_model_unref(b->model);
    b->frame = frame;
    b->model = qd_model_ref(model);
    return QD_OK;
}

/* Decides, before decoding, which pictures are still wanted; the rest get their answer now. */
static int drop_late(struct qd_batcher *b, int n)
{
    int64_t now = qd_now_us();
    int n_kept = 0;

    for (int i = 0; i < n; i++) {
        struct qd_request *request = b->slots[i].request;
        struct qd_answer *answer = &request->answers[b->slots[i].image];

        if (now > request->deadline_us)
            answer->status = qd_error_set(&answer->error, QD_DEADLINE, "waited %lld ms, the deadline is %d ms",
                                          (long long)(now - request->submitted_us) / 1000, b->options.deadline_ms);
        if (answer->status == QD_OK)
            b->slots[n_kept++] = b->slots[i];
        else if (answer->status == QD_DEADLINE)
            atomic_fetch_add(&b->entry->metrics->rejected[QD_REJECT_DEADLINE], 1);
    }
    return n_kept;
}

static void decode_one(struct qd_batcher *b, int i)
{
    struct qd_request *request = b->slots[i].request;
    int image = b->slots[i].image;
    struct qd_answer *answer = &request->answers[image];
    uint8_t *input = qd_frame_input(b->frame, i);

    answer->status = qd_preprocess_run(&b->model->config.preprocess, request->bytes[image], request->sizes[image],
                                       &b->options.limits, input, &answer->error);
    /* The slot runs all the same: a defined picture in its place keeps the others where they are. */
    if (answer->status != QD_OK)
        memset(input, 0, qd_preprocess_bytes(&b->model->config.preprocess));
}

/* Decoding and the network in one parallel region. */
static void run_batch(struct qd_batcher *b, int n, int64_t *ret_decode_us, int64_t *ret_compute_us)
{
    int64_t start = qd_now_us(), decoded = start;

#ifdef _OPENMP
#pragma omp parallel num_threads(qd_frame_team(b->frame, b->options.n_threads))
    {
#pragma omp for schedule(dynamic, 1)
        for (int i = 0; i < n; i++)
            decode_one(b, i);
        if (omp_get_thread_num() == 0)
            decoded = qd_now_us();
        qd_frame_run_share(b->frame, n, omp_get_thread_num(), omp_get_num_threads());
    }
#else
    for (int i = 0; i < n; i++)
        decode_one(b, i);
    decoded = qd_now_us();
    qd_frame_run_share(b->frame, n, 0, 1);
#endif
    *ret_decode_us = decoded - start;
    *ret_compute_us = qd_now_us() - decoded;
}

static void fill_answer(const struct qd_batcher *b, int slot, struct qd_answer *answer, int top_k)
{
    const float *scores = qd_frame_output(b->frame, 0, slot);
    int64_t count = qd_plan_output_count(b->model->result.int8, 0), classes[16];

    answer->n_top = top_k < count ? top_k : (int)count;
    qd_top_k(scores, count, answer->n_top, classes);
    for (int i = 0; i < answer->n_top; i++) {
        answer->top[i].class_index = classes[i];
        answer->top[i].score = scores[classes[i]];
    }
}

/* Counts n pictures of these slots as done; requests whose last picture it was are handed back. */
static void finish_slots(const struct slot *slots, int n)
{
    for (int i = 0; i < n; i++) {
        struct qd_request *request = slots[i].request;

        if (++request->n_finished == request->n_images)
            request->done(request);
    }
}

static void process(struct qd_batcher *b, int n_taken)
{
    struct qd_metrics *metrics = b->entry->metrics;
    struct slot all[QD_MAX_BATCH];
    int64_t start = qd_now_us(), decode_us = 0, compute_us = 0;
    struct qd_error err = {""};
    enum qd_status status;
    int n;

    memcpy(all, b->slots, (size_t)n_taken * sizeof(all[0]));
    status = use_model(b, all[0].request->model, &err);
    for (int i = 0; i < n_taken && status != QD_OK; i++) {
        struct qd_answer *answer = &all[i].request->answers[all[i].image];

        answer->status = status;
        answer->error = err;
    }
    n = status == QD_OK ? drop_late(b, n_taken) : 0;
    if (n) {
        run_batch(b, n, &decode_us, &compute_us);
        atomic_fetch_add(&metrics->images, (unsigned long long)n);
        qd_metrics_observe_size(&metrics->batch_size, n);
        qd_metrics_observe_us(&metrics->stage_us[QD_STAGE_DECODE], decode_us);
        qd_metrics_observe_us(&metrics->stage_us[QD_STAGE_COMPUTE], compute_us);
    }
    for (int i = 0; i < n; i++) {
        struct qd_request *request = b->slots[i].request;
        struct qd_answer *answer = &request->answers[b->slots[i].image];

        if (answer->status == QD_OK)
            fill_answer(b, i, answer, request->top_k);
        request->batch_size = n > request->batch_size ? n : request->batch_size;
        request->queue_us = start - request->submitted_us;
        request->decode_us = decode_us;
        request->compute_us = compute_us;
        qd_metrics_observe_us(&metrics->stage_us[QD_STAGE_QUEUE], request->queue_us);
    }
    finish_slots(all, n_taken);
}

static void *run_thread(void *context)
{
    struct qd_batcher *b = context;
    int n;

    while ((n = wait_for_batch(b)) > 0) {
        process(b, n);
        pthread_mutex_lock(&b->lock);
        b->n_running = 0;
        pthread_mutex_unlock(&b->lock);
    }
    return NULL;
}

enum qd_status qd_batcher_new(struct qd_entry *entry, const struct qd_batcher_options *options,
                              struct qd_batcher **ret, struct qd_error *err)
{
    struct qd_batcher *b = qd_alloc(sizeof(*b));
    pthread_condattr_t attributes;

    if (!b || !(b->slots = qd_alloc_array((size_t)options->max_batch, sizeof(*b->slots)))) {
        qd_free(b);
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a queue");
    }
    b->entry = entry;
    b->options = *options;
    pthread_mutex_init(&b->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&b->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    if (pthread_create(&b->thread, NULL, run_thread, b) != 0) {
        qd_free(b->slots);
        qd_free(b);
        return qd_error_set(err, QD_IO, "cannot start a thread");
    }
    *ret = b;
    return QD_OK;
}

void qd_batcher_free(struct qd_batcher *b)
{
    struct qd_request *request, *next;

    if (!b)
        return;
    pthread_mutex_lock(&b->lock);
    b->stopping = true;
    pthread_cond_signal(&b->wake);
    pthread_mutex_unlock(&b->lock);
    pthread_join(b->thread, NULL);
    for (request = b->first; request; request = next) {
        next = request->next;
        for (int i = request->n_started; i < request->n_images; i++)
            request->answers[i].status =
                qd_error_set(&request->answers[i].error, QD_UNAVAILABLE, "the server is stopping");
        request->done(request);
    }
    qd_frame_free(b->frame);
    qd_model_unref(b->model);
    pthread_cond_destroy(&b->wake);
    pthread_mutex_destroy(&b->lock);
    qd_free(b->slots);
    qd_free(b);
}

enum qd_status qd_batcher_submit(struct qd_batcher *b, struct qd_request *request, struct qd_error *err)
{
    enum qd_status status = QD_OK;

    request->next = NULL;
    request->submitted_us = qd_now_us();
    request->deadline_us = request->submitted_us + (int64_t)b->options.deadline_ms * 1000;
    request->n_started = request->n_finished = 0;
    pthread_mutex_lock(&b->lock);
    if (b->stopping) {
        status = qd_error_set(err, QD_UNAVAILABLE, "the server is stopping");
    } else if (b->n_waiting + request->n_images > b->options.queue_limit) {
        status = qd_error_set(err, QD_FULL, "the queue of model '%s' holds %d of at most %d pictures, no room for %d more",
                              b->entry->name, b->n_waiting, b->options.queue_limit, request->n_images);
    } else {
        if (b->last)
            b->last->next = request;
        else
            b->first = request;
        b->last = request;
        b->n_waiting += request->n_images;
        atomic_store(&b->entry->metrics->queue_images, b->n_waiting);
        pthread_cond_signal(&b->wake);
    }
    pthread_mutex_unlock(&b->lock);
    return status;
}

void qd_batcher_refresh(struct qd_batcher *b)
{
    if (!b)
        return;
    pthread_mutex_lock(&b->lock);
    b->stale = true;
    pthread_cond_signal(&b->wake);
    pthread_mutex_unlock(&b->lock);
}

int qd_batcher_load(struct qd_batcher *b)
{
    int n;

    pthread_mutex_lock(&b->lock);
    n = b->n_waiting + b->n_running;
    pthread_mutex_unlock(&b->lock);
    return n;
}

#include "config.h" /* pthread_setname_np */

#include "serve/monitor.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>

#include "serve/metrics.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/priority.h"

#define N_PLACES 4

/*
 * Who changes a place from another state to TAKEN owns it until setting it to another again. DONE: the monitor's thread
 * has looked; its reference to the model waits for somebody at another priority, since it may be the last one.
 */
enum { EMPTY, TAKEN, FULL, DONE };

struct place {
    struct qd_sample sample; /* first: it is handed out; its memory stays for the next one */
    size_t pixels_capacity, answer_capacity;
    atomic_int state;
    struct qd_model *model; /* a reference */
    struct qd_metrics *metrics;
};

struct qd_monitor {
    int every;
    struct place places[N_PLACES];
    sem_t n_full; /* at least as many as are FULL */
    pthread_t thread;
    bool is_running;
    atomic_bool is_ending;
};

static bool take(struct place *place, int from)
{
    return atomic_compare_exchange_strong(&place->state, &from, TAKEN);
}

static void free_memory(struct place *place)
{
    qd_free(place->sample.pixels);
    qd_free(place->sample.answer);
    place->sample = (struct qd_sample){0};
    place->pixels_capacity = place->answer_capacity = 0;
}

/*
 * Never by the monitor's thread: malloc has locks, and it could lose its core while it holds one. The memory stays for
 * the model's next picture.
 */
static void give_back(struct place *place)
{
    struct qd_model *model = place->model;

    if (model && atomic_load(&model->is_retired))
        free_memory(place);
    place->model = NULL;
    atomic_store(&place->state, EMPTY);
    qd_model_unref(model);
}

static bool make_room(void **memory, size_t *capacity, size_t size)
{
    if (*capacity >= size && *memory)
        return true;
    qd_free(*memory);
    *memory = qd_alloc(size);
    *capacity = *memory ? size : 0;
    return *memory != NULL;
}

struct work {
    const struct qd_monitor *monitor;
    const struct qd_model *model;
};

static bool goes_on(const void *context)
{
    const struct work *work = context;

    return !atomic_load(&work->monitor->is_ending) && !atomic_load(&work->model->is_retired);
}

/* What is kept of the model so far; made for its first picture. NULL: it cannot be monitored, or goes. */
static struct qd_live *live_of(struct qd_model *model)
{
    struct qd_live *live = atomic_load(&model->live);
    struct qd_error err = {""};
    enum qd_status status;

    if (live)
        return live;
    status = qd_live_new(model->graph, model->result.scales, model->result.int8, &live, &err);
    if (status == QD_NO_MEMORY)
        return NULL; /* the next picture may find some */
    if (status != QD_OK) {
        atomic_store(&model->has_no_live, true);
        qd_log(QD_LOG_WARNING, "model '%s' is not monitored: %s", model->config.name, err.text);
        return NULL;
    }
    qd_log(QD_LOG_INFO, "model '%s' version %d generation %d is monitored, with %.1f MB", model->config.name,
           model->config.version, model->generation, (double)qd_live_memory_bytes(live) / 1e6);
    atomic_store(&model->live, live);
    return live;
}

static void look_at(const struct qd_monitor *monitor, struct place *place)
{
    struct work work = {monitor, place->model};
    struct qd_live *live = goes_on(&work) ? live_of(place->model) : NULL;
    bool agrees = false;

    if (!live && goes_on(&work))
        atomic_fetch_add(&place->metrics->shadow_dropped, 1);
    if (!live || !qd_live_add(live, place->sample.pixels, place->sample.answer, goes_on, &work, &agrees))
        return;
    /* In this order: there are never more agreements than pictures. */
    atomic_fetch_add(&place->metrics->shadow_images, 1);
    atomic_fetch_add(&place->metrics->shadow_agreements, agrees);
}

static void *work(void *context)
{
    struct qd_monitor *monitor = context;

    (void)pthread_setname_np(pthread_self(), "quantd-monitor");
    qd_lower_priority();
    for (;;) {
        while (sem_wait(&monitor->n_full) != 0 && errno == EINTR)
            ;
        if (atomic_load(&monitor->is_ending))
            return NULL;
        for (int i = 0; i < N_PLACES; i++) {
            if (!take(&monitor->places[i], FULL))
                continue;
            look_at(monitor, &monitor->places[i]);
            atomic_store(&monitor->places[i].state, DONE);
        }
    }
}

enum qd_status qd_monitor_new(int every, struct qd_monitor **ret, struct qd_error *err)
{
    struct qd_monitor *monitor = qd_alloc(sizeof(*monitor));

    if (!monitor)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for the monitor");
    monitor->every = every;
    sem_init(&monitor->n_full, 0, 0);
    monitor->is_running = pthread_create(&monitor->thread, NULL, work, monitor) == 0;
    if (!monitor->is_running) {
        qd_monitor_free(monitor);
        return qd_error_set(err, QD_IO, "cannot start a thread");
    }
    *ret = monitor;
    return QD_OK;
}

void qd_monitor_end(struct qd_monitor *monitor)
{
    if (!monitor)
        return;
    atomic_store(&monitor->is_ending, true);
    sem_post(&monitor->n_full);
}

void qd_monitor_free(struct qd_monitor *monitor)
{
    if (!monitor)
        return;
    qd_monitor_end(monitor);
    if (monitor->is_running)
        pthread_join(monitor->thread, NULL);
    for (int i = 0; i < N_PLACES; i++) {
        if (take(&monitor->places[i], FULL) || take(&monitor->places[i], DONE))
            give_back(&monitor->places[i]);
        free_memory(&monitor->places[i]);
    }
    sem_destroy(&monitor->n_full);
    qd_free(monitor);
}

/* Steele, Lea and Flood's splitmix64. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

/* One of each block of `every`, at another place in each: who sends the same pictures in turn is not seen at one only.
 */
static bool is_its_turn(unsigned long long number, unsigned every)
{
    return mix(number / every) % every == number % every;
}

struct qd_sample *qd_monitor_pick(struct qd_monitor *monitor, struct qd_model *model, struct qd_metrics *metrics)
{
    struct place *place = NULL;

    if (!monitor || !is_its_turn(atomic_fetch_add(&model->n_served, 1), (unsigned)monitor->every) ||
        atomic_load(&monitor->is_ending) || atomic_load(&model->is_retired) || atomic_load(&model->has_no_live))
        return NULL;
    for (int i = 0; i < N_PLACES; i++)
        if (take(&monitor->places[i], DONE))
            give_back(&monitor->places[i]);
    for (int i = 0; i < N_PLACES && !place; i++)
        if (take(&monitor->places[i], EMPTY))
            place = &monitor->places[i];
    if (!place) {
        atomic_fetch_add(&metrics->shadow_dropped, 1);
        return NULL;
    }
    place->model = qd_model_ref(model);
    place->metrics = metrics;
    place->sample.pixels_bytes = qd_preprocess_bytes(&model->config.preprocess);
    place->sample.answer_bytes = (size_t)qd_plan_output_count(model->result.int8, 0) * sizeof(float);
    if (!make_room((void **)&place->sample.pixels, &place->pixels_capacity, place->sample.pixels_bytes) ||
        !make_room((void **)&place->sample.answer, &place->answer_capacity, place->sample.answer_bytes)) {
        atomic_fetch_add(&metrics->shadow_dropped, 1);
        give_back(place);
        return NULL;
    }
    return &place->sample;
}

void qd_monitor_put(struct qd_monitor *monitor, struct qd_sample *sample, bool is_good)
{
    struct place *place = (struct place *)sample;

    if (!is_good || atomic_load(&place->model->is_retired)) {
        give_back(place);
        return;
    }
    atomic_store(&place->state, FULL);
    sem_post(&monitor->n_full);
}

bool qd_monitor_forget_retired(struct qd_monitor *monitor)
{
    bool may_hold = false;

    for (int i = 0; monitor && i < N_PLACES; i++) {
        struct place *place = &monitor->places[i];

        if (take(place, DONE)) {
            give_back(place);
        } else if (take(place, FULL)) {
            if (atomic_load(&place->model->is_retired)) {
                give_back(place);
            } else {
                atomic_store(&place->state, FULL);
                sem_post(&monitor->n_full); /* its thread may just have looked past it */
                continue;
            }
        }
        /* A smaller model may follow. */
        if (take(place, EMPTY)) {
            free_memory(place);
            atomic_store(&place->state, EMPTY);
        } else {
            may_hold = true;
        }
    }
    return may_hold;
}

#include "config.h" /* pthread_setname_np */

#include "serve/evaluator.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>

#include "util/log.h"
#include "util/mem.h"
#include "util/priority.h"

/* How often it looks whether there is something new. */
#define LOOK_S 1

struct qd_evaluator {
    struct qd_registry *registry;
    size_t max_images;
    pthread_t thread;
    sem_t end;
    atomic_bool is_ending;
};

struct work {
    struct qd_evaluator *evaluator;
    const struct qd_model *model;
};

/* Between batches. */
static bool goes_on(void *context, const struct qd_progress_state *state)
{
    const struct work *work = context;

    (void)state;
    return !atomic_load(&work->evaluator->is_ending) && !atomic_load(&work->model->is_retired);
}

static void evaluate(struct qd_evaluator *evaluator, struct qd_model *model)
{
    const struct qd_serve_options *serve = qd_registry_options(evaluator->registry);
    struct work work = {evaluator, model};
    struct qd_progress progress = {.step = goes_on, .context = &work};
    struct qd_model_options options = serve->model;
    struct qd_accuracy accuracy;
    struct qd_error err = {""};
    enum qd_status status;

    options.progress = &progress;
    options.n_threads = serve->calibration_threads ? serve->calibration_threads : options.n_threads;
    status = qd_model_evaluate(model, NULL, NULL, evaluator->max_images, &options, &accuracy, &err);
    if (status == QD_OK) {
        qd_model_set_evaluation(model, &accuracy);
        if (isfinite(accuracy.fp32_top1))
            qd_log(QD_LOG_INFO, "model '%s': on %zu evaluation pictures top-1 %.4f in fp32, %.4f in int8, agreement %.4f",
                   model->config.name, accuracy.n_images, accuracy.fp32_top1, accuracy.int8_top1, accuracy.agreement);
    } else if (status != QD_CANCELLED) {
        qd_model_set_evaluation(model, NULL);
        qd_log(QD_LOG_WARNING, "model '%s': not evaluated: %s", model->config.name, err.text);
    }
}

/* Those that serve and have pictures for it. */
static void look(struct qd_evaluator *evaluator)
{
    for (int i = 0; i < qd_registry_n_entries(evaluator->registry) && !atomic_load(&evaluator->is_ending); i++) {
        struct qd_model *model = qd_entry_model(qd_registry_entry(evaluator->registry, i));

        if (model && model->config.evaluation_folder && !qd_model_is_evaluated(model))
            evaluate(evaluator, model);
        qd_model_unref(model);
    }
}

static void *run(void *context)
{
    struct qd_evaluator *evaluator = context;

    (void)pthread_setname_np(pthread_self(), "quantd-evaluate");
    qd_lower_priority();
    while (!atomic_load(&evaluator->is_ending)) {
        struct timespec until;

        /* Whoever waits for the first answers comes first. */
        if (qd_registry_is_ready(evaluator->registry))
            look(evaluator);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += LOOK_S;
        while (sem_timedwait(&evaluator->end, &until) < 0 && errno == EINTR)
            ;
    }
    return NULL;
}

enum qd_status qd_evaluator_new(struct qd_registry *registry, int max_images, struct qd_evaluator **ret,
                                struct qd_error *err)
{
    struct qd_evaluator *evaluator;

    *ret = NULL;
    if (!max_images)
        return QD_OK;
    evaluator = qd_alloc(sizeof(*evaluator));
    if (!evaluator)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for the evaluator");
    evaluator->registry = registry;
    evaluator->max_images = (size_t)max_images;
    sem_init(&evaluator->end, 0, 0);
    if (pthread_create(&evaluator->thread, NULL, run, evaluator) != 0) {
        sem_destroy(&evaluator->end);
        qd_free(evaluator);
        return qd_error_set(err, QD_IO, "cannot start a thread");
    }
    *ret = evaluator;
    return QD_OK;
}

void qd_evaluator_end(struct qd_evaluator *evaluator)
{
    if (!evaluator)
        return;
    atomic_store(&evaluator->is_ending, true);
    sem_post(&evaluator->end);
}

void qd_evaluator_free(struct qd_evaluator *evaluator)
{
    if (!evaluator)
        return;
    qd_evaluator_end(evaluator);
    pthread_join(evaluator->thread, NULL);
    sem_destroy(&evaluator->end);
    qd_free(evaluator);
}

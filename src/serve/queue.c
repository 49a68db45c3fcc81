#include "serve/queue.h"

/* Appends a chain of one client's requests to the level's clients. */
static void append_client(struct qd_queue *queue, struct qd_request *head)
{
    int p = head->priority;

    head->next_client = NULL;
    if (queue->levels[p].last)
        queue->levels[p].last->next_client = head;
    else
        queue->levels[p].first = head;
    queue->levels[p].last = head;
}

void qd_queue_push(struct qd_queue *queue, struct qd_request *request)
{
    request->more = NULL;
    request->last = request;
    queue->n_images += request->n_images;
    for (struct qd_request *head = queue->levels[request->priority].first; head; head = head->next_client) {
        if (head->client != request->client)
            continue;
        head->last->more = request;
        head->last = request;
        return;
    }
    append_client(queue, request);
}

static void remove_client(struct qd_queue *queue, int priority, struct qd_request *head, struct qd_request *before)
{
    if (before)
        before->next_client = head->next_client;
    else
        queue->levels[priority].first = head->next_client;
    if (queue->levels[priority].last == head)
        queue->levels[priority].last = before;
}

static bool can_run_together(const struct qd_request *a, const struct qd_request *b)
{
    return a->model == b->model && a->h == b->h && a->w == b->w;
}

/* The next picture in turn that can run with the first slot's; its client goes behind the others. */
static bool take_one(struct qd_queue *queue, int priority, const struct qd_slot *first, struct qd_slot *ret)
{
    struct qd_request *before = NULL, *head = queue->levels[priority].first, *rest;

    while (head && first && !can_run_together(head, first->request)) {
        before = head;
        head = head->next_client;
    }
    if (!head)
        return false;
    ret->request = head;
    ret->image = head->n_started++;
    queue->n_images--;
    remove_client(queue, priority, head, before);
    rest = head;
    if (head->n_started == head->n_images) {
        rest = head->more;
        if (rest)
            rest->last = head->last;
    }
    if (rest)
        append_client(queue, rest);
    return true;
}

/* The lowest priority whose next request has waited for half of its time; 0: none. */
static int find_starving(const struct qd_queue *queue, int64_t now_us)
{
    for (int p = QD_N_PRIORITIES - 1; p > 0; p--) {
        const struct qd_request *head = queue->levels[p].first;

        if (head && now_us - head->submitted_us > (head->deadline_us - head->submitted_us) / 2)
            return p;
    }
    return 0;
}

int qd_queue_take(struct qd_queue *queue, int64_t now_us, int max, struct qd_slot *slots)
{
    int starving = find_starving(queue, now_us), n = 0;

    if (starving && take_one(queue, starving, NULL, &slots[0]))
        n++;
    for (int p = 0; p < QD_N_PRIORITIES; p++)
        while (n < max && take_one(queue, p, n ? &slots[0] : NULL, &slots[n]))
            n++;
    return n;
}

int64_t qd_queue_due_us(const struct qd_queue *queue, int64_t delay_us)
{
    int64_t due = INT64_MAX;

    for (int p = 0; p < QD_N_PRIORITIES; p++)
        for (const struct qd_request *head = queue->levels[p].first; head; head = head->next_client)
            for (const struct qd_request *request = head; request; request = request->more) {
                int64_t half = (request->deadline_us - request->submitted_us) / 2;
                int64_t at = request->submitted_us + (half < delay_us ? half : delay_us);

                due = at < due ? at : due;
            }
    return due;
}

/* What speaks against keeping a request in the queue. */
typedef enum qd_status judge(struct qd_request *request, void *context, struct qd_error *err);

/* Answers the pictures of a request that have not started; true when none is running either. */
static bool give_up(struct qd_queue *queue, struct qd_request *request, enum qd_status status,
                    const struct qd_error *err)
{
    int n = request->n_images - request->n_started;

    for (int i = request->n_started; i < request->n_images; i++) {
        request->answers[i].status = status;
        request->answers[i].error = *err;
    }
    queue->n_images -= n;
    request->n_started = request->n_images;
    request->n_finished += n;
    return request->n_finished == request->n_images;
}

static struct qd_request *remove_if(struct qd_queue *queue, judge *verdict, void *context)
{
    struct qd_request *finished = NULL;

    for (int p = 0; p < QD_N_PRIORITIES; p++) {
        struct qd_request *head = queue->levels[p].first, *next_client;

        queue->levels[p].first = queue->levels[p].last = NULL;
        for (; head; head = next_client) {
            struct qd_request *kept = NULL, *request = head, *more;

            next_client = head->next_client;
            for (; request; request = more) {
                struct qd_error err = {""};
                enum qd_status status = verdict(request, context, &err);

                more = request->more;
                request->more = NULL;
                if (status != QD_OK) {
                    if (!give_up(queue, request, status, &err))
                        continue;
                    request->more = finished;
                    finished = request;
                } else if (kept) {
                    kept->last->more = request;
                    kept->last = request;
                } else {
                    kept = request;
                    kept->last = request;
                }
            }
            if (kept)
                append_client(queue, kept);
        }
    }
    return finished;
}

struct sweep {
    int64_t now_us, grace_us;
    int n_late, n_gone;
};

static enum qd_status late_or_gone(struct qd_request *request, void *context, struct qd_error *err)
{
    struct sweep *sweep = context;

    if (sweep->now_us > request->deadline_us) {
        sweep->n_late++;
        return qd_error_set(err, QD_DEADLINE, "waited %lld ms, the deadline is %lld ms",
                            (long long)(sweep->now_us - request->submitted_us) / 1000,
                            (long long)(request->deadline_us - request->submitted_us) / 1000);
    }
    if (!request->is_gone || !request->is_gone(request))
        return QD_OK;
    if (!request->gone_us)
        request->gone_us = sweep->now_us;
    if (sweep->now_us - request->gone_us >= sweep->grace_us) {
        sweep->n_gone++;
        return qd_error_set(err, QD_CANCELLED, "the client has left");
    }
    return QD_OK;
}

struct qd_request *qd_queue_sweep(struct qd_queue *queue, int64_t now_us, int64_t grace_us, int *ret_n_late,
                                  int *ret_n_gone)
{
    struct sweep sweep = {.now_us = now_us, .grace_us = grace_us};
    struct qd_request *finished = remove_if(queue, late_or_gone, &sweep);

    *ret_n_late = sweep.n_late;
    *ret_n_gone = sweep.n_gone;
    return finished;
}

struct refusal {
    enum qd_status status;
    const char *text;
};

static enum qd_status refuse(struct qd_request *request, void *context, struct qd_error *err)
{
    const struct refusal *refusal = context;

    (void)request;
    return qd_error_set(err, refusal->status, "%s", refusal->text);
}

struct qd_request *qd_queue_clear(struct qd_queue *queue, enum qd_status status, const char *text)
{
    struct refusal refusal = {status, text};

    return remove_if(queue, refuse, &refusal);
}

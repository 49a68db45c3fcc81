/* The queue of one model: turns of clients, priorities, what can run together, what is late or gone. */
#include <string.h>

#include "serve/queue.h"
#include "unit.h"

#define MAX_IMAGES 8

static struct qd_answer answers[16][MAX_IMAGES];

static struct qd_request request(int number, uint64_t client, int n_images, int priority)
{
    struct qd_request r = {.n_images = n_images, .client = client, .priority = priority, .deadline_us = 1000};

    memset(answers[number], 0, sizeof(answers[number]));
    r.answers = answers[number];
    return r;
}

static void check_turn(struct qd_queue *queue, struct qd_request *wanted, int image)
{
    struct qd_slot slot;

    ck_assert_int_eq(qd_queue_take(queue, 0, 1, &slot), 1);
    ck_assert_ptr_eq(slot.request, wanted);
    ck_assert_int_eq(slot.image, image);
}

START_TEST(test_clients_take_turns)
{
    struct qd_queue queue = {0};
    struct qd_request big = request(0, 1, 3, 1), second = request(1, 1, 1, 1), other = request(2, 2, 2, 1);

    qd_queue_push(&queue, &big);
    qd_queue_push(&queue, &second);
    qd_queue_push(&queue, &other);
    ck_assert_int_eq(queue.n_images, 6);
    check_turn(&queue, &big, 0);
    check_turn(&queue, &other, 0);
    check_turn(&queue, &big, 1);
    check_turn(&queue, &other, 1);
    check_turn(&queue, &big, 2);
    check_turn(&queue, &second, 0);
    ck_assert_int_eq(queue.n_images, 0);
    ck_assert_int_eq(qd_queue_take(&queue, 0, 1, (struct qd_slot[1]){{NULL, 0}}), 0);
    ck_assert_int_eq(qd_queue_due_us(&queue, 100), INT64_MAX);
}
END_TEST

START_TEST(test_priorities_go_first)
{
    struct qd_queue queue = {0};
    struct qd_request low = request(0, 1, 1, 2), normal = request(1, 1, 1, 1), high = request(2, 1, 2, 0);
    struct qd_slot slots[4];

    qd_queue_push(&queue, &low);
    qd_queue_push(&queue, &normal);
    qd_queue_push(&queue, &high);
    ck_assert_int_eq(qd_queue_take(&queue, 0, 3, slots), 3);
    ck_assert_ptr_eq(slots[0].request, &high);
    ck_assert_ptr_eq(slots[1].request, &high);
    ck_assert_ptr_eq(slots[2].request, &normal);
    check_turn(&queue, &low, 0);
}
END_TEST

START_TEST(test_nobody_starves)
{
    struct qd_queue queue = {0};
    struct qd_request high = request(0, 1, 3, 0), low = request(1, 2, 1, 2);
    struct qd_slot slots[2];

    qd_queue_push(&queue, &high);
    qd_queue_push(&queue, &low);
    ck_assert_int_eq(qd_queue_take(&queue, 400, 1, slots), 1);
    ck_assert_ptr_eq(slots[0].request, &high);
    ck_assert_int_eq(qd_queue_take(&queue, 501, 2, slots), 2);
    ck_assert_ptr_eq(slots[0].request, &low);
    ck_assert_ptr_eq(slots[1].request, &high);
    check_turn(&queue, &high, 2);
}
END_TEST

START_TEST(test_only_what_runs_together)
{
    static struct qd_model a, b;
    struct qd_queue queue = {0};
    struct qd_request old = request(0, 1, 1, 1), fresh = request(1, 2, 1, 1), large = request(2, 3, 1, 1),
                      again = request(3, 4, 1, 2);
    struct qd_slot slots[4];

    old.model = again.model = &a;
    fresh.model = large.model = &b;
    large.h = large.w = 64;
    qd_queue_push(&queue, &old);
    qd_queue_push(&queue, &fresh);
    qd_queue_push(&queue, &large);
    qd_queue_push(&queue, &again);
    ck_assert_int_eq(qd_queue_take(&queue, 0, 4, slots), 2);
    ck_assert_ptr_eq(slots[0].request, &old);
    ck_assert_ptr_eq(slots[1].request, &again);
    ck_assert_int_eq(qd_queue_take(&queue, 0, 4, slots), 1);
    ck_assert_ptr_eq(slots[0].request, &fresh);
    ck_assert_int_eq(qd_queue_take(&queue, 0, 4, slots), 1);
    ck_assert_ptr_eq(slots[0].request, &large);
}
END_TEST

static bool is_gone(const struct qd_request *r)
{
    return r->context;
}

START_TEST(test_sweep)
{
    struct qd_queue queue = {0};
    struct qd_request kept = request(0, 1, 2, 1), late = request(1, 1, 3, 1), gone = request(2, 2, 2, 0),
                      last = request(3, 1, 1, 1);
    struct qd_request *finished;
    int n_late, n_gone;

    gone.is_gone = is_gone;
    gone.context = &gone;
    late.deadline_us = 10;
    late.submitted_us = 5;
    qd_queue_push(&queue, &late);
    qd_queue_push(&queue, &kept);
    qd_queue_push(&queue, &last);
    qd_queue_push(&queue, &gone);
    /* One picture of the late one is running: its request is not finished by the sweep. */
    ck_assert_int_eq(qd_queue_due_us(&queue, 100), 7); /* half of the time of the late one */
    ck_assert_int_eq(qd_queue_due_us(&queue, 1), 1);
    gone.priority = 0;
    check_turn(&queue, &gone, 0);
    check_turn(&queue, &gone, 1);
    check_turn(&queue, &late, 0);
    gone.n_started = 0; /* waits again */
    qd_queue_push(&queue, &gone);
    finished = qd_queue_sweep(&queue, 11, 5, &n_late, &n_gone);
    ck_assert_int_eq(n_late, 1);
    ck_assert_int_eq(n_gone, 0);
    ck_assert_ptr_null(finished);
    finished = qd_queue_sweep(&queue, 16, 5, &n_late, &n_gone);
    ck_assert_int_eq(n_late, 0);
    ck_assert_int_eq(n_gone, 1);
    ck_assert_ptr_eq(finished, &gone);
    ck_assert_ptr_null(finished->more);
    ck_assert_int_eq(answers[2][1].status, QD_CANCELLED);
    ck_assert_int_eq(answers[1][0].status, QD_OK);
    ck_assert_int_eq(answers[1][1].status, QD_DEADLINE);
    ck_assert_int_eq(answers[1][2].status, QD_DEADLINE);
    ck_assert_int_eq(late.n_finished, 2);
    ck_assert_int_eq(queue.n_images, 3);
    check_turn(&queue, &kept, 0);
    check_turn(&queue, &kept, 1);
    check_turn(&queue, &last, 0);
    ck_assert_int_eq(queue.n_images, 0);
}
END_TEST

START_TEST(test_clear)
{
    struct qd_queue queue = {0};
    struct qd_request a = request(0, 1, 2, 1), b = request(1, 2, 1, 2);
    struct qd_request *finished;

    qd_queue_push(&queue, &a);
    qd_queue_push(&queue, &b);
    finished = qd_queue_clear(&queue, QD_UNAVAILABLE, "stopping");
    ck_assert_ptr_nonnull(finished);
    ck_assert_ptr_nonnull(finished->more);
    ck_assert_ptr_null(finished->more->more);
    ck_assert_int_eq(answers[0][1].status, QD_UNAVAILABLE);
    ck_assert_str_eq(answers[1][0].error.text, "stopping");
    ck_assert_int_eq(queue.n_images, 0);
}
END_TEST

QD_UNIT_MAIN("queue", test_clients_take_turns, test_priorities_go_first, test_nobody_starves, test_only_what_runs_together, test_sweep,
             test_clear)

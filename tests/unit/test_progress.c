/* The share of the work that is done, what is left, and the line that says so. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/progress.h"
#include "tests/unit/unit.h"
#include "util/mem.h"

struct seen {
    struct qd_progress_state last;
    char stage[48];
    int n;
    bool go_on;
};

static bool remember(void *context, const struct qd_progress_state *state)
{
    struct seen *seen = context;

    ck_assert(state->share >= seen->last.share && state->share <= 1);
    ck_assert(!(state->eta_seconds < 0) && state->seconds >= 0);
    snprintf(seen->stage, sizeof(seen->stage), "%s", state->stage);
    seen->last = *state;
    seen->n++;
    return seen->go_on;
}

START_TEST(test_share_grows_to_one)
{
    struct qd_work work;
    struct seen seen = {.go_on = true};
    struct qd_progress progress = {.step = remember, .context = &seen, .work = &work};
    struct qd_error err = {""};
    double before;

    qd_work_begin(&work, 300, 100, true, 0);
    for (size_t i = 0; i < 300; i += 2)
        ck_assert_int_eq(qd_progress_step(&progress, "measuring activations", i, 300, &err), QD_OK);
    ck_assert_double_gt(seen.last.share, 0.1);
    ck_assert_double_lt(seen.last.share, 0.6);
    /* A stage that does not count by itself, and what others count inside it. */
    ck_assert_int_eq(qd_progress_step(&progress, "greedy scales", 3, 6, &err), QD_OK);
    ck_assert_uint_eq(seen.last.total, 0);
    before = seen.last.share;
    ck_assert_int_eq(qd_progress_step(&progress, "mending layers", 5, 10, &err), QD_OK);
    ck_assert_str_eq(seen.stage, "greedy scales");
    ck_assert_uint_eq(seen.last.total, 10);
    ck_assert_double_gt(seen.last.share, before);
    /* A step backwards does not show. */
    ck_assert_int_eq(qd_progress_step(&progress, "measuring activations", 0, 300, &err), QD_OK);
    ck_assert_int_eq(qd_progress_step(&progress, "measuring layers", 15, 16, &err), QD_OK);
    ck_assert_double_gt(seen.last.share, 0.95);
    ck_assert_double_lt(seen.last.share, 1);
    qd_progress_end(&progress);
    ck_assert_double_eq(seen.last.share, 1);
}
END_TEST

START_TEST(test_plain_method_has_no_stages)
{
    struct qd_work staged, plain, skipped, compared;
    struct seen seen = {.go_on = true};
    struct qd_error err = {""};

    struct {
        struct qd_work *work;
        double low, high; /* of its share half way through measuring */
    } cases[] = {{&staged, 0.05, 0.4}, {&plain, 0.35, 0.5}, {&skipped, 0.35, 0.5}, {&compared, 0, 1}};

    qd_work_begin(&staged, 200, 60, true, 0);
    qd_work_begin(&plain, 200, 60, false, 0);
    qd_work_begin(&skipped, 200, 60, true, ~0u);
    qd_work_begin(&compared, 0, 60, false, 0);
    for (size_t i = 0; i < QD_ARRAY_SIZE(cases); i++) {
        struct qd_progress progress = {.step = remember, .context = &seen, .work = cases[i].work};

        seen.last.share = 0;
        ck_assert_int_eq(qd_progress_step(&progress, "measuring activations", 100, 200, &err), QD_OK);
        ck_assert_double_ge(seen.last.share, cases[i].low);
        ck_assert_double_le(seen.last.share, cases[i].high);
    }
    /* Comparing alone: its count is the whole. */
    seen.last.share = 0;
    ck_assert_int_eq(qd_progress_step(&(struct qd_progress){.step = remember, .context = &seen, .work = &compared},
                                      "comparing int8 with fp32", 30, 60, &err),
                     QD_OK);
    ck_assert_double_eq_tol(seen.last.share, 0.5, 1e-9);
}
END_TEST

START_TEST(test_callback_cancels)
{
    struct seen seen = {.go_on = false};
    struct qd_progress progress = {.step = remember, .context = &seen};
    struct qd_error err = {""};

    ck_assert_int_eq(qd_progress_step(&progress, "weights", 1, 4, &err), QD_CANCELLED);
    ck_assert_str_eq(err.text, "cancelled while weights");
    ck_assert_double_eq(seen.last.share, 0.25);
    ck_assert_int_eq(qd_progress_step(NULL, "weights", 1, 4, &err), QD_OK);
    qd_progress_end(NULL);
}
END_TEST

START_TEST(test_line_fits_the_terminal)
{
    struct qd_progress_state states[] = {
        {"measuring activations", 0, 401, 0, 0, (double)NAN},
        {"a stage of a name longer than any that there is", 123456, 1234567, 0.5, 86400 * 30, 1e9},
        {"weights", 0, 0, 0.999, 3.2, 0},
        {"", 0, 0, 1, 1, 1},
    };
    char text[QD_PROGRESS_LINE_SIZE];

    for (size_t s = 0; s < QD_ARRAY_SIZE(states); s++)
        for (int columns = 1; columns < 300; columns++) {
            ck_assert_ptr_eq(qd_cli_progress_line(&states[s], columns, text), text);
            ck_assert_uint_lt(strlen(text), (size_t)columns);
        }
    ck_assert_str_eq(
        qd_cli_progress_line(&(struct qd_progress_state){"trying scales", 4, 16, 0.53, 64, 57.2}, 120, text),
        "trying scales            4/16      [###############               ]  53 %  1:04, about 60 s left");
    ck_assert_str_eq(qd_cli_progress_line(&(struct qd_progress_state){"weights", 0, 0, 0.2, 1, (double)NAN}, 40, text),
                     "weights  20 %  0:01");
}
END_TEST

QD_UNIT_MAIN("progress", test_share_grows_to_one, test_plain_method_has_no_stages, test_callback_cancels,
             test_line_fits_the_terminal)

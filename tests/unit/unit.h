/*
 * What a unit test file needs: QD_UNIT_MAIN("name", test_a, test_b) makes the program, which speaks TAP on stdout.
 * A test is START_TEST(test_a) { ... } END_TEST, with check's ck_assert_*.
 */
#ifndef QD_TESTS_UNIT_H
#define QD_TESTS_UNIT_H

#include <check.h>
#include <stdlib.h>

#include "util/status.h"

#define ck_assert_ok(call, err) ck_assert_msg((call) == QD_OK, "%s: %s", #call, (err)->text)

/* n_rows: how often each test runs, with _i from 0; 0: once, without a row. */
static inline int qd_unit_run(const char *name, const TTest *const *tests, size_t n_tests, size_t n_rows)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    SRunner *runner;

    tcase_set_timeout(tcase, 120);
    for (size_t i = 0; i < n_tests; i++)
        tcase_add_loop_test(tcase, tests[i], 0, n_rows ? (int)n_rows : 1);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    srunner_free(runner);
    return EXIT_SUCCESS; /* the TAP driver counts the results */
}

#define QD_UNIT_MAIN(name, ...)                                                                                        \
    int main(void)                                                                                                     \
    {                                                                                                                  \
        const TTest *const tests[] = {__VA_ARGS__};                                                                    \
        return qd_unit_run(name, tests, sizeof(tests) / sizeof(tests[0]), 0);                                          \
    }

/* One test for each of n rows of a table: _i is the row. */
#define QD_UNIT_LOOP_MAIN(name, test, n)                                                                               \
    int main(void)                                                                                                     \
    {                                                                                                                  \
        const TTest *const tests[] = {test};                                                                           \
        return qd_unit_run(name, tests, 1, n);                                                                         \
    }

#endif

#include <stdio.h>
#include <string.h>

#include "quant/cache.h"
#include "quant/generations.h"
#include "serve/generation.h"
#include "tests/unit/scratch.h"
#include "util/file.h"

#define BASE "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static char folder[QD_SCRATCH_SIZE];

/* Adds a generation with scales of that many pictures, by which they are told apart. */
static void add(struct qd_generations *g, int number)
{
    struct qd_generation generation = {.number = number, .method = "mse", .made_unix_us = 1000 + number};
    struct qd_scales *scales = qd_scales_new();
    struct qd_error err = {""};

    scales->n_images = number;
    ck_assert_ok(qd_generations_add(folder, BASE, &generation, scales, g, &err), &err);
    qd_scales_free(scales);
}

static bool is_kept(int number)
{
    char key[QD_GENERATION_KEY_SIZE], path[QD_SCRATCH_SIZE + QD_GENERATION_KEY_SIZE + 16];

    qd_generation_key(BASE, number, key);
    snprintf(path, sizeof(path), "%s/%s.json", folder, key);
    return qd_is_file(path);
}

START_TEST(test_come_back_as_they_were)
{
    struct qd_generations g = {0}, back = {0};
    struct qd_scales *scales = NULL;
    struct qd_error err = {""};
    char key[QD_GENERATION_KEY_SIZE];

    make_scratch(folder);
    ck_assert_int_eq(qd_generations_load(folder, BASE, &back, &err), QD_NOT_FOUND);
    add(&g, 1);
    add(&g, 2);
    err.text[0] = 0;
    ck_assert_ok(qd_generations_load(folder, BASE, &back, &err), &err);
    ck_assert_int_eq(back.n, 2);
    ck_assert_int_eq(back.current, 2);
    ck_assert_int_eq(back.last, 2);
    ck_assert_str_eq(back.list[0].method, "mse");
    ck_assert_int_eq(back.list[1].made_unix_us, 1002);
    qd_generation_key(BASE, 1, key);
    ck_assert_ok(qd_cache_load(folder, key, &scales, &err), &err);
    ck_assert_int_eq(scales->n_images, 1);
    qd_scales_free(scales);
    remove_scratch(folder);
}
END_TEST

START_TEST(test_two_before_the_current_one_are_kept)
{
    struct qd_generations g = {0};

    make_scratch(folder);
    for (int number = 1; number <= 4; number++)
        add(&g, number);
    ck_assert_int_eq(g.n, 3);
    ck_assert_int_eq(g.list[0].number, 2);
    ck_assert(!is_kept(1));
    ck_assert(is_kept(2) && is_kept(3) && is_kept(4));
    remove_scratch(folder);
}
END_TEST

/* Rolled back from 3 to 2; then 4 comes: before it there was 2, and 3 is not wanted any more. */
START_TEST(test_what_was_rolled_back_from_goes_when_another_comes)
{
    struct qd_generations g = {0}, back = {0};
    struct qd_error err = {""};

    make_scratch(folder);
    for (int number = 1; number <= 3; number++)
        add(&g, number);
    ck_assert_ok(qd_generations_choose(folder, BASE, 2, &g, &err), &err);
    ck_assert_ok(qd_generations_load(folder, BASE, &back, &err), &err);
    ck_assert_int_eq(back.current, 2);
    ck_assert_int_eq(back.n, 3);
    add(&g, 4);
    ck_assert_int_eq(g.n, 3);
    ck_assert_int_eq(g.list[1].number, 2);
    ck_assert_int_eq(g.list[2].number, 4);
    ck_assert_int_eq(g.last, 4);
    ck_assert(!is_kept(3));
    remove_scratch(folder);
}
END_TEST

START_TEST(test_bad_files)
{
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"", "not JSON"},
        {"[]", "expected format"},
        {"{\"format\":\"quantd-scales-3\"}", "found 'quantd-scales-3'"},
        {"{\"format\":\"quantd-generations-1\",\"current\":1,\"last\":1,\"generations\":[]}",
         "expected 1 to 3, found 0"},
        {"{\"format\":\"quantd-generations-1\",\"current\":2,\"last\":2,\"generations\":[{\"generation\":1,\"method\":"
         "\"mse\"}]}",
         "current: expected one of the generations, found 2"},
        {"{\"format\":\"quantd-generations-1\",\"current\":1,\"last\":1,\"generations\":[{\"generation\":-1,\"method\":"
         "\"mse\"}]}",
         "generations[0]"},
        {"{\"format\":\"quantd-generations-1\",\"current\":1,\"last\":1,\"generations\":[{\"generation\":1}]}",
         "generations[0]"},
        {"{\"format\":\"quantd-generations-1\",\"current\":1,\"last\":9,\"generations\":[{\"generation\":1,\"method\":"
         "\"a\"},"
         "{\"generation\":1,\"method\":\"a\"}]}",
         "generations[1]"},
        {"{\"format\":\"quantd-generations-1\",\"current\":1,\"last\":99999999999999,\"generations\":[1,2,3]}",
         "generations[0]"},
    };
    struct qd_generations g = {.n = 7};
    char path[QD_SCRATCH_SIZE + 128];

    make_scratch(folder);
    snprintf(path, sizeof(path), "%s/%s.generations.json", folder, BASE);
    for (size_t i = 0; i < QD_ARRAY_SIZE(rows); i++) {
        struct qd_error err = {""};

        ck_assert_ok(qd_file_write_atomic(path, rows[i].text, strlen(rows[i].text), &err), &err);
        ck_assert_int_eq(qd_generations_load(folder, BASE, &g, &err), QD_INVALID);
        ck_assert_msg(strstr(err.text, rows[i].error) && strstr(err.text, path), "row %zu: %s", i, err.text);
        ck_assert_int_eq(g.n, 7);
    }
    remove_scratch(folder);
}
END_TEST

static struct qd_model scales_of(const char *base, const char *sum)
{
    struct qd_model model = {.generation = 0};

    snprintf(model.base_key, sizeof(model.base_key), "%s", base);
    snprintf(model.scales_sum, sizeof(model.scales_sum), "%s", sum);
    return model;
}

static int number(struct qd_model model, struct qd_given_numbers *given)
{
    qd_generation_number(&model, given);
    qd_generation_note(&model, given);
    return model.generation;
}

START_TEST(test_numbers)
{
    struct qd_given_numbers given = {0};
    struct qd_model a = scales_of("a", "1"), b = scales_of("b", "1"), kept = scales_of("c", "1");

    ck_assert_int_eq(number(a, &given), 1);
    ck_assert_int_eq(number(a, &given), 1); /* loaded again */
    ck_assert_int_eq(number(b, &given), 2); /* another network */
    ck_assert_int_eq(number(a, &given), 1); /* and back */
    a.is_recalibration = true;
    ck_assert_int_eq(number(a, &given), 3); /* although the scales came out the same */
    /* A kept generation has its number, unless others had it in this process. */
    kept.result.from_entry = true;
    kept.entry_generation = 7;
    kept.generations.last = 9;
    ck_assert_int_eq(number(kept, &given), 7);
    kept.entry_generation = 2;
    ck_assert_int_eq(number(kept, &given), 10);
}
END_TEST

QD_UNIT_MAIN("generations", test_come_back_as_they_were, test_two_before_the_current_one_are_kept,
             test_what_was_rolled_back_from_goes_when_another_comes, test_bad_files, test_numbers)

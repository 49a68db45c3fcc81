#include "serve/generation.h"

#include <stdio.h>
#include <string.h>

/* The generation before the one that serves, or the one that is asked for. */
static enum qd_status find_wanted(const struct qd_model *model, const struct qd_model_options *options, int *ret,
                                  struct qd_error *err)
{
    const struct qd_generations *g = &model->generations;
    int at = qd_generations_find(g, options->serving_generation ? options->serving_generation : g->current);

    if (at < 0) /* it could not be written: what was kept last is before it */
        at = qd_generations_find(g, g->current) + 1;

    if (options->generation == QD_GENERATION_BEFORE && at < 1)
        return qd_error_set(err, QD_NOT_FOUND,
                            "no generation of scales before the one that serves is kept: a recalibration keeps them");
    *ret = options->generation == QD_GENERATION_BEFORE ? g->list[at - 1].number : options->generation;
    if (qd_generations_find(g, *ret) < 0)
        return qd_error_set(err, QD_NOT_FOUND, "no generation %d of its scales is kept; GET /models/%.60s lists them",
                            *ret, model->config.name);
    return QD_OK;
}

enum qd_status qd_generation_find(struct qd_model *model, const struct qd_image_set *images,
                                  const struct qd_pipeline_options *pipeline, const struct qd_model_options *options,
                                  int *ret_number, struct qd_error *err)
{
    struct qd_pipeline_options own = *pipeline;
    struct qd_error why = {""};
    enum qd_status status;

    *ret_number = 0;
    own.method = NULL; /* it stands in settings by name: whether the network has scales of its own is not known here */
    status = qd_pipeline_key(images, &own, model->base_key, err);
    if (status != QD_OK)
        return status;
    status = qd_generations_load(options->cache_folder, model->base_key, &model->generations, &why);
    if (status != QD_OK && status != QD_NOT_FOUND)
        snprintf(model->warning, sizeof(model->warning), "%s", why.text);
    if (options->generation)
        return find_wanted(model, options, ret_number, err);
    if (!options->ignore_cache && !options->ignores_kept)
        *ret_number = model->generations.current;
    return QD_OK;
}

/* Of what decides its answers: the network, how it is fed, the scales. */
static struct qd_hash identity_of(const struct qd_model *model)
{
    struct qd_hasher hasher;

    qd_hasher_init(&hasher);
    qd_hasher_add(&hasher, model->hash.bytes, QD_HASH_SIZE);
    qd_hasher_add(&hasher, model->base_key, strlen(model->base_key));
    qd_hasher_add(&hasher, model->scales_sum, strlen(model->scales_sum));
    return qd_hasher_finish(&hasher);
}

/* The latest number that was given to these scales, 0: none. */
static int number_of(const struct qd_given_numbers *given, const struct qd_hash *identity)
{
    for (int i = given->n - 1; i >= 0; i--)
        if (memcmp(&given->list[i].identity, identity, sizeof(*identity)) == 0)
            return given->list[i].number;
    return 0;
}

static bool is_of_others(const struct qd_given_numbers *given, int number, const struct qd_hash *identity)
{
    for (int i = 0; i < given->n; i++)
        if (given->list[i].number == number)
            return memcmp(&given->list[i].identity, identity, sizeof(*identity)) != 0;
    return false;
}

void qd_generation_number(struct qd_model *fresh, const struct qd_given_numbers *given)
{
    struct qd_hash identity = identity_of(fresh);
    int last = given->last > fresh->generations.last ? given->last : fresh->generations.last, number = 0;

    if (fresh->result.from_entry)
        number = fresh->entry_generation;
    else if (!fresh->is_recalibration)
        number = number_of(given, &identity);
    fresh->generation = number && !is_of_others(given, number, &identity) ? number : last + 1;
}

void qd_generation_note(const struct qd_model *model, struct qd_given_numbers *given)
{
    struct qd_hash identity = identity_of(model);

    given->last = model->generation > given->last ? model->generation : given->last;
    if (number_of(given, &identity) == model->generation)
        return;
    if (given->n == QD_N_GIVEN)
        memmove(given->list, given->list + 1, (size_t)--given->n * sizeof(given->list[0]));
    given->list[given->n].number = model->generation;
    given->list[given->n++].identity = identity;
}

static enum qd_status add(struct qd_model *fresh, const struct qd_model *of, const char *folder, struct qd_error *err)
{
    struct qd_generation generation = {.number = of->generation, .made_unix_us = of->calibrated_unix_us};

    memcpy(generation.method, of->result.scales->method, sizeof(generation.method));
    return qd_generations_add(folder, fresh->base_key, &generation, of->result.scales, &fresh->generations, err);
}

enum qd_status qd_generation_keep(struct qd_model *fresh, const struct qd_model *old,
                                  const struct qd_model_options *options, struct qd_error *err)
{
    enum qd_status status = QD_OK;

    if (!options->cache_folder || !fresh->base_key[0])
        return QD_OK;
    if (options->generation)
        return qd_generations_choose(options->cache_folder, fresh->base_key, fresh->entry_generation,
                                     &fresh->generations, err);
    if (!fresh->is_recalibration)
        return QD_OK;
    if (old && !fresh->generations.n && strcmp(old->base_key, fresh->base_key) == 0)
        status = add(fresh, old, options->cache_folder, err);
    return status == QD_OK ? add(fresh, fresh, options->cache_folder, err) : status;
}

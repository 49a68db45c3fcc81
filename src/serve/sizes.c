#include "serve/sizes.h"

struct entry {
    int h, w;
    unsigned long long used; /* the number of the call that used it last */
    struct qd_model *model;
    struct qd_frame *frame;
};

struct qd_sizes {
    struct qd_model *base;
    struct qd_model_options options;
    struct entry entries[QD_MAX_SIZES];
    int n;
    unsigned long long calls;
};

enum qd_status qd_sizes_new(struct qd_model *model, const struct qd_model_options *options, struct qd_sizes **ret,
                            struct qd_error *err)
{
    struct qd_sizes *sizes = qd_alloc(sizeof(*sizes));

    if (!sizes)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for plans");
    sizes->base = qd_model_ref(model);
    sizes->options = *options;
    *ret = sizes;
    return QD_OK;
}

static void drop(struct entry *entry)
{
    qd_frame_free(entry->frame);
    qd_model_unref(entry->model);
}

void qd_sizes_free(struct qd_sizes *sizes)
{
    if (!sizes)
        return;
    for (int i = 0; i < sizes->n; i++)
        drop(&sizes->entries[i]);
    qd_model_unref(sizes->base);
    qd_free(sizes);
}

int qd_sizes_count(const struct qd_sizes *sizes)
{
    return sizes->n;
}

static struct entry *find(struct qd_sizes *sizes, int h, int w)
{
    for (int i = 0; i < sizes->n; i++)
        if (sizes->entries[i].h == h && sizes->entries[i].w == w)
            return &sizes->entries[i];
    return NULL;
}

/* Bytes of a frame; the model's own size does not count. */
static size_t bytes_of(const struct qd_sizes *sizes, const struct entry *entry)
{
    return entry->h ? qd_plan_frame_bytes(entry->model->result.int8, sizes->options.n_threads) : 0;
}

/* The entries unused for longest go, until there is a place, and memory, for one more. */
static struct entry *make_room(struct qd_sizes *sizes, size_t n_bytes)
{
    for (;;) {
        struct entry *oldest = NULL;
        size_t held = n_bytes;

        for (int i = 0; i < sizes->n; i++) {
            struct entry *entry = &sizes->entries[i];

            held += bytes_of(sizes, entry);
            if (entry->h && (!oldest || entry->used < oldest->used))
                oldest = entry;
        }
        if (!oldest || (sizes->n < QD_MAX_SIZES && held <= QD_MAX_SIZES_BYTES))
            return &sizes->entries[sizes->n++];
        drop(oldest);
        *oldest = sizes->entries[--sizes->n];
    }
}

enum qd_status qd_sizes_get(struct qd_sizes *sizes, int h, int w, const struct qd_model **ret_model,
                            struct qd_frame **ret_frame, struct qd_error *err)
{
    struct entry *entry = find(sizes, h, w), made = {.h = h, .w = w};
    enum qd_status status;

    if (!entry) {
        status = h || w ? qd_model_resized(sizes->base, h, w, &sizes->options, &made.model, err) : QD_OK;
        if (status != QD_OK)
            return status;
        if (!made.model)
            made.model = qd_model_ref(sizes->base);
        if (bytes_of(sizes, &made) > QD_MAX_SIZES_BYTES)
            status = qd_error_set(err, QD_TOO_LARGE, "%d x %d takes %zu MB of memory: expected at most %zu", h, w,
                                  bytes_of(sizes, &made) >> 20, QD_MAX_SIZES_BYTES >> 20);
        if (status == QD_OK)
            status = qd_frame_new(made.model->result.int8, sizes->options.n_threads, &made.frame, err);
        if (status != QD_OK) {
            qd_model_unref(made.model);
            return status;
        }
        entry = make_room(sizes, bytes_of(sizes, &made));
        *entry = made;
    }
    entry->used = ++sizes->calls;
    *ret_model = entry->model;
    *ret_frame = entry->frame;
    return QD_OK;
}

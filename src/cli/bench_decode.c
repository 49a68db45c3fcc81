#include "cli/bench_decode.h"

#ifdef _OPENMP
#include <omp.h>
#endif

#include "util/clock.h"
#include "util/file.h"

#define MAX_FILE_BYTES ((size_t)64 << 20)

/* Every file decodes, or it says here that it does not: a run has no place for errors. */
static enum qd_status load(struct qd_bench_pictures *pictures, uint8_t *scratch, struct qd_error *err)
{
    enum qd_status status = QD_OK;

    for (size_t i = 0; i < pictures->set.n_files && status == QD_OK; i++) {
        const char *path = pictures->set.files[i].path;
        struct qd_buf *file = &pictures->files[i];

        status = qd_file_read(path, MAX_FILE_BYTES, file, err);
        if (status != QD_OK)
            return status;
        status = qd_preprocess_run(pictures->preprocess, file->bytes, file->size, &pictures->limits, scratch, err);
        if (status != QD_OK)
            return qd_error_context(err, status, "'%s'", path);
    }
    return status;
}

enum qd_status qd_bench_pictures_init(const char *folder, const struct qd_preprocess *preprocess,
                                      const struct qd_image_limits *limits, struct qd_bench_pictures *ret,
                                      struct qd_error *err)
{
    struct qd_bench_pictures pictures = {.preprocess = preprocess, .limits = *limits};
    void *scratch = NULL;
    enum qd_status status = qd_image_set_load(folder, NULL, 0, &pictures.set, err);

    if (status == QD_OK)
        status = qd_alloc_for((void **)&pictures.files, pictures.set.n_files, sizeof(*pictures.files), "files", err);
    if (status == QD_OK)
        status = qd_alloc_for(&scratch, qd_preprocess_bytes(preprocess), 1, "a picture", err);
    if (status == QD_OK)
        status = load(&pictures, scratch, err);
    qd_free(scratch);
    if (status != QD_OK)
        qd_bench_pictures_done(&pictures);
    else
        *ret = pictures;
    return status;
}

void qd_bench_pictures_done(struct qd_bench_pictures *pictures)
{
    for (size_t i = 0; pictures->files && i < pictures->set.n_files; i++)
        qd_buf_done(&pictures->files[i]);
    qd_free(pictures->files);
    qd_image_set_done(&pictures->set);
}

static void decode_one(const struct qd_bench_pictures *pictures, struct qd_frame *frame, int i)
{
    const struct qd_buf *file = &pictures->files[(pictures->next + (size_t)i) % pictures->set.n_files];
    struct qd_error ignored;

    (void)qd_preprocess_run(pictures->preprocess, file->bytes, file->size, &pictures->limits, qd_frame_input(frame, i),
                            &ignored);
}

void qd_bench_pictures_run(struct qd_bench_pictures *pictures, struct qd_frame *frame, int n, int n_threads)
{
    int64_t start = qd_now_us();

#ifdef _OPENMP
#pragma omp parallel num_threads(qd_frame_team(frame, n_threads))
    {
#pragma omp for schedule(dynamic, 1)
        for (int i = 0; i < n; i++)
            decode_one(pictures, frame, i);
        if (omp_get_thread_num() == 0)
            pictures->decode_us += qd_now_us() - start;
        qd_frame_run_share(frame, n, omp_get_thread_num(), omp_get_num_threads());
    }
#else
    (void)n_threads;
    for (int i = 0; i < n; i++)
        decode_one(pictures, frame, i);
    pictures->decode_us += qd_now_us() - start;
    qd_frame_run_share(frame, n, 0, 1);
#endif
    pictures->next = (pictures->next + (size_t)n) % pictures->set.n_files;
    pictures->n_decoded += n;
}

#include "quant/batch.h"

#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "util/cores.h"
#include "util/file.h"

#define MAX_FILE_BYTES ((size_t)256 << 20)

int qd_default_threads(void)
{
    int n = 1, n_cores = qd_cores_available();

#ifdef _OPENMP
    /* OpenMP counts the cores of the affinity mask, or takes OMP_NUM_THREADS; a quota is beyond it. */
    n = omp_get_max_threads();
#endif
    return n > n_cores && !getenv("OMP_NUM_THREADS") ? n_cores : n;
}

int qd_this_thread(void)
{
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

static enum qd_status load_one(const struct qd_image_file *file, const struct qd_preprocess *preprocess,
                               const struct qd_image_limits *limits, uint8_t *input, struct qd_error *err)
{
    struct qd_buf buf;
    enum qd_status status = qd_file_read(file->path, MAX_FILE_BYTES, &buf, err);

    if (status != QD_OK)
        return status;
    status = qd_preprocess_run(preprocess, buf.bytes, buf.size, limits, input, err);
    qd_buf_done(&buf);
    return status == QD_OK ? QD_OK : qd_error_context(err, status, "'%s'", file->path);
}

void qd_batch_load(const struct qd_image_file *const *files, int n, const struct qd_preprocess *preprocess,
                   const struct qd_image_limits *limits, int n_threads, uint8_t *const *inputs,
                   enum qd_status *statuses, struct qd_error *errors)
{
    (void)n_threads;
#pragma omp parallel for schedule(dynamic, 1) num_threads(n_threads)
    for (int i = 0; i < n; i++) {
        errors[i].text[0] = 0;
        statuses[i] = load_one(files[i], preprocess, limits, inputs[i], &errors[i]);
    }
}

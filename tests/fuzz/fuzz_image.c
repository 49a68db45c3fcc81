#include "image/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const struct qd_image_limits limits = {.max_pixels = 1000000};
    struct qd_preprocess preprocess = {.size_h = 9, .size_w = 9, .crop_h = 6, .crop_w = 7};
    struct qd_image image;
    struct qd_error err = {""};
    uint8_t out[6 * 7 * 3];

    if (qd_image_decode(bytes, size, size % 2 ? 1 : 3, &limits, &image, &err) == QD_OK)
        qd_image_done(&image);
    for (preprocess.decode = QD_DECODE_FULL; preprocess.decode <= QD_DECODE_SCALED; preprocess.decode++)
        (void)qd_preprocess_run(&preprocess, bytes, size, &limits, out, &err);
    return 0;
}

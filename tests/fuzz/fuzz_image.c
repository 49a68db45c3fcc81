#include "image/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const struct qd_image_limits limits = {.max_pixels = 1000000};
    struct qd_image image;
    struct qd_error err = {""};

    if (qd_image_decode(bytes, size, size % 2 ? 1 : 3, &limits, &image, &err) == QD_OK)
        qd_image_done(&image);
    return 0;
}

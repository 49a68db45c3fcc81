#include "util/clock.h"

#include <time.h>

static int64_t read_clock_ns(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t qd_now_ns(void)
{
    return read_clock_ns(CLOCK_MONOTONIC);
}

int64_t qd_now_us(void)
{
    return qd_now_ns() / 1000;
}

int64_t qd_unix_time_us(void)
{
    return read_clock_ns(CLOCK_REALTIME) / 1000;
}

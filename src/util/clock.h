/* Time. */
#ifndef QD_UTIL_CLOCK_H
#define QD_UTIL_CLOCK_H

#include <stdint.h>

int64_t qd_now_ns(void);       /* monotonic: for durations and deadlines */
int64_t qd_now_us(void);       /* the same clock */
int64_t qd_unix_time_us(void); /* since 1970: for timestamps shown to people */

#endif

/* The process's peak of resident memory, from Linux's /proc. */
#ifndef QD_UTIL_PEAK_H
#define QD_UTIL_PEAK_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Starts the peak anew from what is resident now, after giving freed memory back to the system. False where that is not
 * possible: the peak stays that of the process's whole life.
 */
bool qd_peak_reset(void);

/* Bytes (VmHWM of proc(5)); -1 where it cannot be known. */
int64_t qd_peak_bytes(void);

#endif

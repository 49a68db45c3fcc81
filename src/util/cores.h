/* How many cores this process may keep busy. */
#ifndef QD_UTIL_CORES_H
#define QD_UTIL_CORES_H

/* The cores of its affinity mask, and no more than the CPU quota of its control group rounded up; at least 1. */
int qd_cores_available(void);

/*
 * The CPU quota of the control groups (version 1 and 2) that this process is in, in cores, rounded up; the tightest up
 * to the root counts. 0: none. root stands before the paths that are read; "" but for tests.
 */
int qd_cores_of_quota(const char *root);

#endif

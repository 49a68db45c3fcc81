/* How many cores this process may keep busy. */
#ifndef QD_UTIL_CORES_H
#define QD_UTIL_CORES_H

/* The cores of its affinity mask, and no more than the CPU quota of its control group (version 2) rounded up; at
 * least 1. */
int qd_cores_available(void);

#endif

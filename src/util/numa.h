/* NUMA nodes, as Linux shows them under /sys. */
#ifndef QD_UTIL_NUMA_H
#define QD_UTIL_NUMA_H

#include <stdbool.h>

#define QD_SYSFS "/sys"

/* How many nodes have a processor that this process may run on; at least 1. sysfs: QD_SYSFS, or a test's folder. */
int qd_numa_n_nodes(const char *sysfs);

/*
 * Lets the calling thread, and the threads that it starts from now on, run only on the i-th of these nodes. False, and
 * nothing changed, where there is no such node or the system refuses.
 */
bool qd_numa_bind(const char *sysfs, int i);

/* The processors of a list such as "0-3,8": calls each() with every number. False: it is no such list. */
bool qd_numa_parse_list(const char *text, void (*each)(void *context, int processor), void *context);

#endif

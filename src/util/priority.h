/* Work that gives way to all other. */
#ifndef QD_UTIL_PRIORITY_H
#define QD_UTIL_PRIORITY_H

/*
 * For the calling thread, and for the team that it will start, which inherits it: SCHED_BATCH and the lowest nice
 * value, so that whoever serves comes first, whatever this one does.
 */
void qd_lower_priority(void);

#endif

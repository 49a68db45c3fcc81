/* sd_notify without the library: a datagram to the socket that systemd names. */
#ifndef QD_DAEMON_NOTIFY_H
#define QD_DAEMON_NOTIFY_H

#include <stdint.h>

/* "READY=1", "STOPPING=1", "STATUS=..."; does nothing outside systemd. See sd_notify(3). */
void qd_notify(const char *text);

/* RELOADING=1 with the time that Type=notify-reload wants beside it; READY=1 ends it. */
void qd_notify_reloading(void);

/* How often at least systemd wants to hear WATCHDOG=1 of this process, in microseconds; 0: not at all. */
int64_t qd_notify_watchdog_us(void);

#endif

/* sd_notify without the library: a datagram to the socket that systemd names. */
#ifndef QD_DAEMON_NOTIFY_H
#define QD_DAEMON_NOTIFY_H

/* "READY=1", "STOPPING=1", "STATUS=..."; does nothing outside systemd. See sd_notify(3). */
void qd_notify(const char *text);

#endif

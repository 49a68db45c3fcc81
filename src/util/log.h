/*
 * The log: lines on stderr, with the journal's "<N>" level prefix when stderr is a journal stream.
 * Only serve, http, daemon and cli log; library folders return. Any thread.
 */
#ifndef QD_UTIL_LOG_H
#define QD_UTIL_LOG_H

/* syslog's numbers, so that the journal understands them. */
enum qd_log_level { QD_LOG_ERROR = 3, QD_LOG_WARNING = 4, QD_LOG_NOTICE = 5, QD_LOG_INFO = 6, QD_LOG_DEBUG = 7 };

/* The most detailed level that is still written; QD_LOG_INFO at the start. */
void qd_log_set_level(enum qd_log_level level);

/* One line; control characters in it are written as \xNN, so that a request cannot forge a line. */
void qd_log(enum qd_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif

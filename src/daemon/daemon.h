/* The life of the server: start-up order, reload, drain, one exit path. */
#ifndef QD_DAEMON_DAEMON_H
#define QD_DAEMON_DAEMON_H

#include "daemon/config.h"

/* Runs until SIGTERM or SIGINT (a second one ends it at once); SIGHUP reloads the models. Returns the exit code. */
int qd_daemon_run(const struct qd_config *config);

/* Checks what can be checked without starting: level, ISA, repository. */
enum qd_status qd_daemon_check(const struct qd_config *config, struct qd_error *err);

#endif

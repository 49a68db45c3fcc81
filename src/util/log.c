#include "util/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static atomic_int log_level = QD_LOG_INFO;
static pthread_once_t journal_once = PTHREAD_ONCE_INIT;
static int to_journal;

static void find_journal(void)
{
    to_journal = getenv("JOURNAL_STREAM") != NULL && !isatty(STDERR_FILENO);
}

void qd_log_set_level(enum qd_log_level level)
{
    atomic_store(&log_level, (int)level);
}

static const char *level_name(enum qd_log_level level)
{
    switch (level) {
    case QD_LOG_ERROR:
        return "error";
    case QD_LOG_WARNING:
        return "warning";
    case QD_LOG_NOTICE:
        return "notice";
    case QD_LOG_INFO:
        return "info";
    case QD_LOG_DEBUG:
        return "debug";
    }
    return "?";
}

static size_t escape(const char *text, char *line, size_t used, size_t size)
{
    for (; *text && used + 6 < size; text++) {
        unsigned char c = (unsigned char)*text;

        if (c < 0x20 || c == 0x7f)
            used += (size_t)snprintf(line + used, size - used, "\\x%02x", c);
        else
            line[used++] = (char)c;
    }
    return used;
}

void qd_log(enum qd_log_level level, const char *format, ...)
{
    char text[2048], line[4096];
    struct timespec now;
    struct tm parts;
    va_list args;
    size_t used;

    if ((int)level > atomic_load(&log_level))
        return;
    pthread_once(&journal_once, find_journal);
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (to_journal) {
        used = (size_t)snprintf(line, sizeof(line), "<%d>", (int)level);
    } else {
        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &parts);
        used = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &parts);
        used += (size_t)snprintf(line + used, sizeof(line) - used, ".%03ldZ %s: ", now.tv_nsec / 1000000,
                                 level_name(level));
    }
    used = escape(text, line, used, sizeof(line));
    line[used++] = '\n';
    /* One write per line, so that lines of several threads do not mix. */
    if (write(STDERR_FILENO, line, used) < 0)
        return;
}

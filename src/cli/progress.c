#include "cli/progress.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "util/clock.h"

#define MAX_COLUMNS 110
#define BAR_COLUMNS 30
#define LEAST_BAR 10
#define REFRESH_US 100000

/* It is an estimate: no more digits than it deserves. */
static void print_eta(char *text, size_t size, double seconds)
{
    if (!isfinite(seconds))
        text[0] = 0;
    else if (seconds < 10)
        snprintf(text, size, ", about %.0f s left", ceil(seconds));
    else if (seconds < 90)
        snprintf(text, size, ", about %.0f s left", 5 * ceil(seconds / 5));
    else
        snprintf(text, size, ", about %.0f min left", ceil(seconds / 60));
}

const char *qd_cli_progress_line(const struct qd_progress_state *state, int columns, char text[QD_PROGRESS_LINE_SIZE])
{
    static const char full[] = "##############################";
    char eta[48], count[48] = "", times[112];
    int room = (columns < MAX_COLUMNS ? columns : MAX_COLUMNS) - 1, bar, filled, n;
    long gone = (long)state->seconds;

    print_eta(eta, sizeof(eta), state->eta_seconds);
    if (state->total)
        snprintf(count, sizeof(count), " %zu/%zu", state->done, state->total);
    n = snprintf(times, sizeof(times), " %3.0f %%  %ld:%02ld%s", 100 * state->share, gone / 60, gone % 60, eta);
    bar = room - n - 38;
    bar = bar > BAR_COLUMNS ? BAR_COLUMNS : bar;
    filled = (int)(state->share * bar);
    n = bar >= LEAST_BAR ? snprintf(text, QD_PROGRESS_LINE_SIZE, "%-24.24s%-10.10s [%.*s%*s]%s", state->stage, count,
                                    filled, full, bar - filled, "", times)
                         : snprintf(text, QD_PROGRESS_LINE_SIZE, "%.24s%s", state->stage, times);
    if (n > room)
        text[room > 0 ? room : 0] = 0;
    return text;
}

static int terminal_columns(void)
{
    struct winsize size;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

bool qd_cli_show_progress(void *context, const struct qd_progress_state *state)
{
    static int64_t shown_us; /* one command, one terminal */
    const char *terminal = getenv("TERM");
    char text[QD_PROGRESS_LINE_SIZE];
    int64_t now = qd_now_us();

    (void)context;
    if (!isatty(STDERR_FILENO) || !terminal || strcmp(terminal, "dumb") == 0)
        return true;
    if (state->share >= 1) {
        if (shown_us)
            fputs("\r\033[K", stderr);
        shown_us = 0;
    } else if (!shown_us || now - shown_us >= REFRESH_US) {
        fprintf(stderr, "\r%s\033[K", qd_cli_progress_line(state, terminal_columns(), text));
        shown_us = now;
    }
    return true;
}

/* A bar on the terminal that stderr is; nothing where it is none. */
#ifndef QD_CLI_PROGRESS_H
#define QD_CLI_PROGRESS_H

#include "quant/progress.h"

/* For struct qd_progress; it never cancels. */
bool qd_cli_show_progress(void *context, const struct qd_progress_state *state);

/*
 * The line for a terminal of so many columns, one less at most, in text: stage, bar, share, time gone and about what is
 * left. Returns text.
 */
#define QD_PROGRESS_LINE_SIZE 160
const char *qd_cli_progress_line(const struct qd_progress_state *state, int columns, char text[QD_PROGRESS_LINE_SIZE]);

#endif

/* The layer report on a terminal: a row per layer, then stages, what is worst, the gate; no line longer than 120
 * columns. */
#ifndef QD_CLI_REPORT_TABLE_H
#define QD_CLI_REPORT_TABLE_H

#include "quant/report.h"

void qd_print_report(const struct qd_report *report);

#endif

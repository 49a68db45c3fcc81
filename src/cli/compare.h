/* `quantd calibrate --compare`: every calibration method in the same runner on the same pictures. */
#ifndef QD_CLI_COMPARE_H
#define QD_CLI_COMPARE_H

#include "cli/cli.h"

/*
 * A row per method, on stdout as it is known (--json: all at the end), and as Markdown in --output. What is compared
 * with fp32: the evaluation set where the model names one, else the pictures held back for the gate. Returns the exit
 * code.
 */
int qd_compare_methods(const struct qd_cli_options *cli, const struct qd_model_options *options);

#endif

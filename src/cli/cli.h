/* The sub-commands: each is a file and a row of qd_commands[]. */
#ifndef QD_CLI_CLI_H
#define QD_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "serve/model.h"
#include "util/status.h"

struct qd_command {
    const char *name;
    const char *arguments; /* "DIR|FILE" */
    const char *summary;
    int (*run)(int argc, char **argv); /* argv[0] is the sub-command's name; returns the exit code */
};

/* The sub-command of argv[1], or serve; --help and --version. */
int qd_cli_main(int argc, char **argv);

/* Options of the offline sub-commands, all together; each command takes those it names. */
struct qd_cli_options {
    const char *path;
    bool json;
    const char *images, *labels, *calibration, *method, *isa, *precision, *cache, *output, *profile, *stages, *plot;
    const char *without, *qdq, *ncnn_table, *tensorrt_cache, *accelerator, *size, *decode;
    size_t limit, evaluation_limit, n_golden;
    int tensorrt_version, batch, threads, repeats, weight_bits, activation_bits, multiplier_bits;
    bool compare, layers;
};

/* One option of a sub-command. QD_FLAG_ISA, QD_FLAG_METHOD: text, and help lists the tiers or methods. */
struct qd_cli_flag {
    const char *name;  /* "--limit" */
    const char *value; /* "N", or NULL for a switch */
    const char *help;
    enum { QD_FLAG_SWITCH, QD_FLAG_TEXT, QD_FLAG_ISA, QD_FLAG_METHOD, QD_FLAG_INT, QD_FLAG_SIZE } kind;
    size_t offset; /* into struct qd_cli_options */
};

/* How to calibrate: rows of every sub-command that does. */
#define QD_CALIBRATION_FLAGS                                                                                           \
    {"--calibration", "DIR", "calibration pictures instead of model.json's", QD_FLAG_TEXT,                             \
     offsetof(struct qd_cli_options, calibration)},                                                                    \
        {"--method", "NAME", "calibration method:", QD_FLAG_METHOD, offsetof(struct qd_cli_options, method)},          \
        {"--profile", "NAME", "default, strict_layerwise, accelerator or strict_pot", QD_FLAG_TEXT,                    \
         offsetof(struct qd_cli_options, profile)},                                                                    \
        {"--weight-bits", "N", "4 to 8", QD_FLAG_INT, offsetof(struct qd_cli_options, weight_bits)},                   \
        {"--activation-bits", "N", "4 to 8", QD_FLAG_INT, offsetof(struct qd_cli_options, activation_bits)},           \
        {"--multiplier-bits", "N", "1 (shifts) to 24, of requantisation multipliers", QD_FLAG_INT,                     \
         offsetof(struct qd_cli_options, multiplier_bits)},                                                            \
        {"--stages", "N", "only the first N stages of adlq", QD_FLAG_TEXT, offsetof(struct qd_cli_options, stages)},   \
    {                                                                                                                  \
        "--without", "LIST", "stages of adlq to leave out, as 'bias correction,global'", QD_FLAG_TEXT,                 \
            offsetof(struct qd_cli_options, without)                                                                   \
    }

/*
 * Reads argv into *ret by the table; prints help (exit code 0) or an error with the nearest option (2) and returns
 * false then, with *ret_code set.
 */
bool qd_cli_parse(int argc, char **argv, const struct qd_command *command, const struct qd_cli_flag *flags,
                  size_t n_flags, struct qd_cli_options *ret, int *ret_code);

/* Model options from the command line: kernels by --isa, threads, cache folder, a progress bar on a terminal. */
enum qd_status qd_cli_model_options(const struct qd_cli_options *cli, struct qd_model_options *ret,
                                    struct qd_error *err);

/* Prints "quantd: text" on stderr; returns 1. */
int qd_cli_fail(const struct qd_error *err);
/* Prints what is odd about a calibration on stderr. */
void qd_cli_warn(const struct qd_model *model);
/* Prints the JSON on stdout and frees it; returns 0, or 1 when stdout is gone. */
int qd_cli_print_json(json_t *json);

extern const struct qd_command qd_command_serve, qd_command_calibrate, qd_command_evaluate, qd_command_inspect,
    qd_command_bench, qd_command_export, qd_command_operators;

#endif

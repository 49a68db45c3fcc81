#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "daemon/daemon.h"
#include "util/file.h"

#define DEFAULT_FILE QD_CONF_DIR "/quantd.conf"

static void print_help(void)
{
    const char *section = "";

    printf("usage: quantd [serve] [--config FILE] [--check-config] [--KEY VALUE ...]\n"
           "Serves models over HTTP. Without --config, %s is read if it is there.\n"
           "Every key stands in the file, in the environment (QUANTD_MAX_BATCH) or as a flag (--max-batch).\n",
           DEFAULT_FILE);
    for (int i = 0; i < qd_n_settings; i++) {
        const struct qd_setting *s = &qd_settings[i];

        if (strcmp(section, s->section) != 0)
            printf("\n[%s]\n", section = s->section);
        printf("  %-16s %s (default: %s)\n", s->name, s->help, s->fallback[0] ? s->fallback : "empty");
    }
}

/* Flags by name; --config and --check-config are found here, the rest are settings. */
static enum qd_status read_flags(int argc, char **argv, struct qd_config *config, const char **ret_file,
                                 bool *ret_check, bool apply, struct qd_error *err)
{
    for (int i = 1; i < argc; i++) {
        enum qd_status status;

        if (strcmp(argv[i], "--check-config") == 0) {
            *ret_check = true;
            continue;
        }
        if (strncmp(argv[i], "--", 2) != 0)
            return qd_error_set(err, QD_INVALID, "expected --KEY VALUE, found '%.60s'", argv[i]);
        if (i + 1 == argc)
            return qd_error_set(err, QD_INVALID, "%.60s: expected a value after it", argv[i]);
        i++;
        if (strcmp(argv[i - 1], "--config") == 0) {
            *ret_file = argv[i];
            continue;
        }
        status = apply ? qd_config_set(config, argv[i - 1] + 2, argv[i], err) : QD_OK;
        if (status != QD_OK)
            return status;
    }
    return QD_OK;
}

static int run(int argc, char **argv)
{
    struct qd_config config;
    struct qd_error err = {""};
    const char *file = NULL;
    bool check = false;
    int code = 0;
    enum qd_status status;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            print_help();
            return 0;
        }
    }
    status = qd_config_init(&config, &err);
    if (status == QD_OK)
        status = read_flags(argc, argv, &config, &file, &check, false, &err);
    if (status == QD_OK && (file || qd_is_file(DEFAULT_FILE)))
        status = qd_config_read_file(&config, file ? file : DEFAULT_FILE, &err);
    if (status == QD_OK)
        status = qd_config_read_environment(&config, &err);
    if (status == QD_OK)
        status = read_flags(argc, argv, &config, &file, &check, true, &err);
    if (status == QD_OK && check)
        status = qd_daemon_check(&config, &err);
    if (status != QD_OK) {
        qd_cli_fail(&err);
        code = 2; /* not 1: to start it again would not help */
    } else if (check) {
        printf("configuration is good\n");
    } else {
        code = qd_daemon_run(&config);
    }
    qd_config_done(&config);
    return code;
}

const struct qd_command qd_command_serve = {"serve", "", "serve models over HTTP (the default)", run};

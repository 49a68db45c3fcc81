#include "cli/cli.h"

static int run(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return 1;
}

const struct qd_command qd_command_serve = {"serve", "", "serve models over HTTP (the default)", run};

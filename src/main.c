#include "cli/cli.h"

int main(int argc, char **argv)
{
    return qd_cli_main(argc, argv);
}

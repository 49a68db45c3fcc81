#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"

/*
 * libgomp's threads spin for milliseconds where a parallel region begins and ends before they sleep; beside another busy
 * process that turns microseconds into milliseconds. The engine's own barrier brings a team to a region's end together,
 * so that a short spin is enough. How long they spin is read from the environment before main: the program sets it and
 * starts itself again, once, unless somebody chose a policy.
 */
static void limit_spinning(char **argv)
{
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY"))
        return;
    if (setenv("GOMP_SPINCOUNT", "1000", 1) == 0)
        execv("/proc/self/exe", argv);
    /* Without /proc it runs all the same, only slower beside others. */
}

int main(int argc, char **argv)
{
    limit_spinning(argv);
    return qd_cli_main(argc, argv);
}

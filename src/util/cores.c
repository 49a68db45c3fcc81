#include "util/cores.h"

#include "config.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int cores_of_mask(void)
{
#ifdef __linux__
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        return CPU_COUNT(&set);
#endif
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

/* The quota of one group in whole cores; 0: none. */
static int cores_of_group(const char *group)
{
    char path[4096 + 64];
    long long quota, period;
    int n_read;
    FILE *file;

    snprintf(path, sizeof(path), "/sys/fs/cgroup%s/cpu.max", group);
    file = fopen(path, "re");
    if (!file)
        return 0;
    n_read = fscanf(file, "%lld %lld", &quota, &period);
    fclose(file);
    return n_read == 2 && quota > 0 && period > 0 ? (int)((quota + period - 1) / period) : 0;
}

/* The tightest quota from the process's own group up to the root; 0: none. */
static int cores_of_quota(void)
{
    char line[4096], *slash;
    int least = 0;
    FILE *file = fopen("/proc/self/cgroup", "re");

    if (!file)
        return 0;
    while (fgets(line, sizeof(line), file)) {
        if (strncmp(line, "0::", 3) != 0)
            continue;
        line[strcspn(line, "\n")] = 0;
        do {
            int n = cores_of_group(line + 3);

            if (n && (!least || n < least))
                least = n;
            slash = strrchr(line + 3, '/');
            if (slash)
                *slash = 0;
        } while (slash);
    }
    fclose(file);
    return least;
}

int qd_cores_available(void)
{
    int n = cores_of_mask(), quota = cores_of_quota();

    if (quota && quota < n)
        n = quota;
    return n < 1 ? 1 : n;
}

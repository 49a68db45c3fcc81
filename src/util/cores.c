#include "util/cores.h"

#include "config.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_PATH 4096

static int cores_of_mask(void)
{
#ifdef __linux__
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        return CPU_COUNT(&set);
#endif
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

static int whole_cores(long long quota_us, long long period_us)
{
    return quota_us > 0 && period_us > 0 ? (int)((quota_us + period_us - 1) / period_us) : 0;
}

/* The number that a file holds; -1: none, as "max" and "no quota" are. */
static long long read_number(const char *folder, const char *name)
{
    char path[MAX_PATH + 64];
    long long number;
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "re");
    if (!file)
        return -1;
    if (fscanf(file, "%lld", &number) != 1)
        number = -1;
    fclose(file);
    return number;
}

/* Version 2: one file, "QUOTA PERIOD" or "max PERIOD". */
static int cores_of_group(const char *folder)
{
    char path[MAX_PATH + 64];
    long long quota_us = 0, period_us = 0;
    FILE *file;

    snprintf(path, sizeof(path), "%s/cpu.max", folder);
    file = fopen(path, "re");
    if (!file)
        return 0;
    if (fscanf(file, "%lld %lld", &quota_us, &period_us) != 2)
        quota_us = 0;
    fclose(file);
    return whole_cores(quota_us, period_us);
}

static int cores_of_group_v1(const char *folder)
{
    return whole_cores(read_number(folder, "cpu.cfs_quota_us"), read_number(folder, "cpu.cfs_period_us"));
}

/* The tightest quota from the group up to the root of its hierarchy; 0: none. */
static int cores_of_groups(const char *mount, const char *group, int (*cores_of)(const char *folder))
{
    char folder[MAX_PATH];
    size_t mount_length = strlen(mount);
    int least = 0;
    char *slash;

    if (snprintf(folder, sizeof(folder), "%s%s", mount, group) >= (int)sizeof(folder))
        return 0;
    do {
        int n = cores_of(folder);

        if (n && (!least || n < least))
            least = n;
        slash = strrchr(folder + mount_length, '/');
        if (slash)
            *slash = 0;
    } while (slash);
    return least;
}

/* "1:cpu,cpuacct:/group": the controllers of a hierarchy of version 1, whether cpu is one of them. */
static bool has_cpu(const char *controllers, size_t length)
{
    for (const char *c = controllers; c < controllers + length; c += strcspn(c, ",:") + 1)
        if (strncmp(c, "cpu", 3) == 0 && strchr(",:", c[3]))
            return true;
    return false;
}

int qd_cores_of_quota(const char *root)
{
    char line[MAX_PATH], path[MAX_PATH], mount[MAX_PATH];
    int least = 0;
    FILE *file;

    snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    file = fopen(path, "re");
    if (!file)
        return 0;
    while (fgets(line, sizeof(line), file)) {
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        int n = 0;

        if (!group)
            continue;
        line[strcspn(line, "\n")] = 0;
        controllers++;
        if (strncmp(line, "0::", 3) == 0) {
            snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup", root);
            n = cores_of_groups(mount, group + 1, cores_of_group);
        } else if (has_cpu(controllers, (size_t)(group - controllers))) {
            /* Its folder has the controllers' names; /cpu is a link to it. */
            snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup/cpu", root);
            n = cores_of_groups(mount, group + 1, cores_of_group_v1);
        }
        if (n && (!least || n < least))
            least = n;
    }
    fclose(file);
    return least;
}

int qd_cores_available(void)
{
    int n = cores_of_mask(), quota = qd_cores_of_quota("");

    if (quota && quota < n)
        n = quota;
    return n < 1 ? 1 : n;
}

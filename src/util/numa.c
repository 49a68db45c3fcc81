#define _GNU_SOURCE /* sched_setaffinity */
#include "util/numa.h"

#include <ctype.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_NODES 1024

bool qd_numa_parse_list(const char *text, void (*each)(void *context, int processor), void *context)
{
    while (*text && !isspace((unsigned char)*text)) {
        char *end;
        long first = strtol(text, &end, 10), last = first;

        if (end == text)
            return false;
        if (*end == '-') {
            text = end + 1;
            last = strtol(text, &end, 10);
            if (end == text)
                return false;
        }
        if (first < 0 || last < first || last >= CPU_SETSIZE)
            return false;
        for (long processor = first; processor <= last; processor++)
            each(context, (int)processor);
        text = *end == ',' ? end + 1 : end;
        if (text == end && *end && !isspace((unsigned char)*end))
            return false;
    }
    return true;
}

static void add_processor(void *context, int processor)
{
    cpu_set_t *set = context;

    CPU_SET((size_t)processor, set);
}

/* The processors of a node that this process may run on. False: none, or no such node. */
static bool read_node(const char *sysfs, int node, cpu_set_t *ret)
{
    char path[4096], line[4096];
    cpu_set_t allowed;
    bool good;
    FILE *file;

    CPU_ZERO(ret);
    snprintf(path, sizeof(path), "%s/devices/system/node/node%d/cpulist", sysfs, node);
    file = fopen(path, "re");
    if (!file)
        return false;
    good = fgets(line, sizeof(line), file) && qd_numa_parse_list(line, add_processor, ret);
    fclose(file);
    if (!good || sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
        return false;
    CPU_AND(ret, ret, &allowed);
    return CPU_COUNT(ret) > 0;
}

int qd_numa_n_nodes(const char *sysfs)
{
    cpu_set_t set;
    int n = 0;

    for (int node = 0; node < MAX_NODES; node++)
        n += read_node(sysfs, node, &set);
    return n ? n : 1;
}

bool qd_numa_bind(const char *sysfs, int i)
{
    cpu_set_t set;

    for (int node = 0; node < MAX_NODES; node++)
        if (read_node(sysfs, node, &set) && i-- == 0)
            return sched_setaffinity(0, sizeof(set), &set) == 0;
    return false;
}

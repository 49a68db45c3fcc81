#include "util/peak.h"

#include <stdio.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

bool qd_peak_reset(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    bool ok = file != NULL;

#ifdef __GLIBC__
    malloc_trim(0);
#endif
    if (file) {
        ok = fputs("5", file) >= 0;
        ok &= fclose(file) == 0;
    }
    return ok;
}

int64_t qd_peak_bytes(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[128];
    long kib = -1;

    if (!file)
        return -1;
    while (kib < 0 && fgets(line, sizeof(line), file))
        if (sscanf(line, "VmHWM: %ld kB", &kib) != 1)
            kib = -1;
    fclose(file);
    return kib < 0 ? -1 : (int64_t)kib * 1024;
}

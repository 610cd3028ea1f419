/* See machine.h. */
#include "common/run/machine.h"

#include <stdio.h>
#include <string.h>

void machine_cpu(char *out, size_t size)
{
    char line[512];
    FILE *f = fopen("/proc/cpuinfo", "r");
    snprintf(out, size, "unknown");
    while (f && fgets(line, sizeof line, f)) {
        char *at = strncmp(line, "model name", 10) ? NULL : strchr(line, ':');
        if (!at)
            continue;
        at[strcspn(at, "\n")] = 0;
        snprintf(out, size, "%s", at[1] == ' ' ? at + 2 : at + 1);
        break;
    }
    if (f)
        fclose(f);
}

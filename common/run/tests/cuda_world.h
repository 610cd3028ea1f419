/* What the tests of the CUDA backend share: the plugin on the recording driver of bin/tests/cuda, which runs
 * the kernels in the emulator; with HASTEN_TEST_DEVICE=1 on the machine's own, as scripts/gpu-check does. */
#ifndef HASTEN_CUDA_WORLD_H
#define HASTEN_CUDA_WORLD_H

#include "common/run/backend_cuda.h"

#include <libgen.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char plugin[PATH_MAX + 64], driver[PATH_MAX + 64];

static int on_device(void) { return getenv("HASTEN_TEST_DEVICE") != NULL; }

static int open_plugin(struct backend *b, const char *libraries, struct team *team, struct error *e)
{
    return backend_cuda_open(b, plugin, libraries, 0, cpu_kernels(CPU_REF), team, e);
}

static double distance(const float *got, const float *want, int64_t n)
{
    double error = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        error += (got[i] - want[i]) * (double)(got[i] - want[i]);
        size += want[i] * (double)want[i];
    }
    return sqrt(error / size);
}

/* Finds both, and starts the program again so that the plugin finds the driver. */
static void use_driver(int argc, char **argv)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    const char *folder = dirname(self); /* bin/tests */
    snprintf(driver, sizeof driver, "%s/cuda", folder);
    snprintf(plugin, sizeof plugin, "%s/../hasten-cuda.so", folder);
    const char *path = getenv("LD_LIBRARY_PATH");
    if (!on_device() && (!path || strcmp(path, driver)) && argc > 0) {
        setenv("LD_LIBRARY_PATH", driver, 1); /* read when a process starts */
        execv("/proc/self/exe", argv);
        _exit(1);
    }
}

#endif

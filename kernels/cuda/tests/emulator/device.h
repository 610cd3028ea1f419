/* The same launches on a device, for tests that are told to: HASTEN_CUDA_DEVICE is its number. */
#ifndef HASTEN_EMULATOR_DEVICE_H
#define HASTEN_EMULATOR_DEVICE_H

#include "kernels/cuda/launch.h"

/* 1 if HASTEN_CUDA_DEVICE is set. */
int device_wanted(void);
/* Launches and waits. Pointers are those of the host: the device must be able to read all its memory (an
 * attribute of the driver, "pageable memory access"). Kernels come from the fatbins in build/cuda. NULL, or
 * what went wrong. */
const char *device_launch(const struct cuda_launch *l);

#endif

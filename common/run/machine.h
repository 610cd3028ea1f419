/* What machine this is, for records of measurements. */
#ifndef HASTEN_RUN_MACHINE_H
#define HASTEN_RUN_MACHINE_H

#include <stddef.h>

/* The processor's name as the system gives it, or "unknown". */
void machine_cpu(char *out, size_t size);

#endif

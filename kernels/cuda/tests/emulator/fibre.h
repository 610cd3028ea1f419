/* Fibres: stacks that hand the processor to each other. One runs at a time, the main one is the caller's own.
 *
 *     struct fibre *f = fibre_open(bytes);
 *     fibre_start(f, function, argument);
 *     fibre_enter(f);       // runs it until it calls fibre_leave() or returns; 1 as long as it has not
 * returned fibre_close(f); */
#ifndef HASTEN_EMULATOR_FIBRE_H
#define HASTEN_EMULATOR_FIBRE_H

#include <stddef.h>

struct fibre *fibre_open(size_t bytes);
void fibre_close(struct fibre *f);
void fibre_start(struct fibre *f, void (*run)(void *), void *argument);
int fibre_enter(struct fibre *f);
void fibre_leave(void);

#endif

/* Inside common/run: the CUDA backend. backend_cuda.c runs, backend_cuda_pack.c makes weights ready. */
#ifndef HASTEN_RUN_BACKEND_CUDA_INSIDE_H
#define HASTEN_RUN_BACKEND_CUDA_INSIDE_H

#include "common/run/backend_cuda.h"
#include "common/run/weights.h"

/* p->product in host memory (mem_array) in the device's layout; p->product_size, p->form and p->format. */
int cuda_pack_on_host(struct backend *b, struct packed *p, const struct node *n,
                      struct error *e) HASTEN_CHECKED;

#endif

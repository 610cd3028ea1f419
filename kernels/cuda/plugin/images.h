/* Inside the plugin: the compiled kernels, one fatbin a .cu file, NULL behind the last. Made by the Makefile;
 * without nvcc there are none. */
#ifndef HASTEN_KERNELS_CUDA_IMAGES_H
#define HASTEN_KERNELS_CUDA_IMAGES_H

enum { CUDA_IMAGES_MOST = 32 };

extern const unsigned char *const hasten_cuda_images[];

#endif

/* Moving rows: copies between layouts, resampling, pooling. No arithmetic but means; one version for all
 * levels.
 *
 * Rows of the output are split among the parts. */
#ifndef HASTEN_KERNELS_MOVE_H
#define HASTEN_KERNELS_MOVE_H

#include <stdint.h>

enum move_kind {
    MOVE_COPY,           /* row r of image i to row r of image i */
    MOVE_UPSAMPLE,       /* nearest, any ratio */
    MOVE_AVG_POOL,       /* mean over block x block pixels, stride block */
    MOVE_MEAN_POOL,      /* mean over all rows of an image: one row */
    MOVE_DEPTH_TO_SPACE, /* channels (p, q, c) to pixels */
    MOVE_SPACE_TO_DEPTH,
};

struct move {
    enum move_kind kind;
    const float *in;
    float *out;
    int64_t in_ld, in_image_ld, out_ld, out_image_ld; /* elements between rows and images */
    int images, in_height, in_width, out_height, out_width;
    int channels; /* of a row copied: of the output, of the input for MOVE_DEPTH_TO_SPACE */
    int block;
};

void move_run(const struct move *m, int part, int parts);

#endif

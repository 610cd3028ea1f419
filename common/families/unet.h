/* The skeleton that U-Nets of diffusers share: levels of ResNet blocks going down and up, skip connections
 * between them, and attention of the family's own kind behind the blocks whose type asks for it.
 *
 *     struct unet u = {.attend = attend, .family = &mine};
 *     unet_read(b, config, &u, &defaults);           // block lists, resnet settings
 *     u.resnet.temb = ...;
 *     unet_build(b, config, &u, conv_in);            // conv_in to conv_out: the node of the output
 */
#ifndef HASTEN_FAMILIES_UNET_H
#define HASTEN_FAMILIES_UNET_H

#include "common/families/family.h"

enum { UNET_SKIPS = 256, UNET_LEVELS = 16 };

struct unet {
    int levels, width[UNET_LEVELS], layers[UNET_LEVELS];
    const char *down[UNET_LEVELS], *up[UNET_LEVELS];
    const char *attention_down, *attention_up; /* the types of blocks with attention that the family has */
    int down_by_resnet, up_by_resnet;          /* of levels with plain attention */
    int down_pad, odd; /* odd: sizes that do not halve, so that going up asks the skip */
    struct resnet resnet;
    /* Attention `name` after a resnet of that level (counted from the outermost). */
    int (*attend)(struct builder *b, const struct unet *u, const char *name, int h, int level);
    const void *family;
    int skip[UNET_SKIPS], skips;
};

/* What a config that does not say gets. Lists end with 0 or NULL. */
struct unet_defaults {
    const int *width;
    const char *const *down, *const *up;
};

void unet_read(struct builder *b, const cJSON *config, struct unet *u, const struct unet_defaults *d);
/* One number up to max for every level, or a list of them: into out[level]. */
void unet_per_level(struct builder *b, const cJSON *config, const char *key, int fallback, int max,
                    const struct unet *u, int out[UNET_LEVELS]);
/* The embedding of the time, with the class's where the model has one. */
int unet_embedding(struct builder *b, const cJSON *config, const struct unet *u, int time);
/* The input itself, or 2 x - 1 where the config centers it. */
int unet_center(struct builder *b, const cJSON *config, int x);
/* From conv_in to conv_out, whose node it gives. middle makes mid_block. */
int unet_build(struct builder *b, const cJSON *config, struct unet *u, int in,
               int (*middle)(struct builder *b, struct unet *u, const cJSON *config, int h));

#endif

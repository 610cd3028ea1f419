/* The table of families. */
#include "common/families/family.h"

#include <string.h>

static const struct family *const families[] = {&family_unet2d, &family_dit, &family_transformer2d,
                                                &family_vae};

const struct family *family_find(const char *class_name)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (!strcmp(families[i]->class_name, class_name))
            return families[i];
    return NULL;
}

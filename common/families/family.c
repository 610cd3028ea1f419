/* The table of families, and the end of every build. */
#include "common/families/family.h"

#include <string.h>

static const struct family *const families[] = {&family_unet2d, &family_unet2d_condition, &family_dit,
                                                &family_transformer2d, &family_vae};

const struct family *family_find(const char *class_name)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (!strcmp(families[i]->class_name, class_name))
            return families[i];
    return NULL;
}

/* The error names as many defects as fit. */
static int defects_error(struct builder *b)
{
    char text[900];
    size_t size = 0;
    int named = 0;
    for (const char *line = b->defects.data; *line; named++) {
        size_t n = strcspn(line, "\n");
        if (size + n + 2 >= sizeof text)
            break;
        memcpy(text + size, line, n);
        memcpy(text + size + n, "; ", 2);
        size += n + 2;
        line += n + 1;
    }
    text[size ? size - 2 : 0] = 0;
    if (named == b->wrong)
        return error_set(b->e, HASTEN_EFILE, "%s", text);
    return error_set(b->e, HASTEN_EFILE, "%s; and %d more tensors are missing or have another shape", text,
                     b->wrong - named);
}

int family_build(const struct family *f, struct builder *b, const cJSON *config)
{
    int status = f->build(b, config);
    if (status < 0 || b->failed)
        return -1;
    return b->wrong ? defects_error(b) : 0;
}

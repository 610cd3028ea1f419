/* See container.h: opening, finding, closing. */
#include "common/file/container.h"
#include "common/base/json.h"
#include "common/file/container_inside.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- opening ---- */

/* By the first bytes (n <= 16 of them). */
static int recognise(const unsigned char *p, size_t n, enum form *form, struct error *e)
{
    static const struct {
        const char *bytes, *what;
        size_t size;
    } others[] = {{"\x1F\x8B", "gzip data", 2},
                  {"PK\3\4", "a zip archive (PyTorch's .pt and .bin are)", 4},
                  {"GGUF", "a GGUF file", 4},
                  {"\x89HDF", "an HDF5 file", 4},
                  {"\x89PNG", "a PNG picture", 4},
                  {"\x7F"
                   "ELF",
                   "a program", 4},
                  {"\xFD"
                   "7zXZ",
                   "xz data", 5},
                  {"\x93NUMPY", "a NumPy array", 6},
                  {"\x80\2", "a Python pickle", 2},
                  {"\xB5\x2F\xFD\x28", "zstd data in the wrong byte order", 4}};
    if (n == 0)
        return error_set(e, HASTEN_EFILE, "the file is empty");
    uint32_t word = n >= 4 ? get32(p) : 0;
    if (word == FRAME_MAGIC || (word & 0xFFFFFFF0u) == TRAILER_MAGIC) {
        *form = FORM_ZST;
        return 0;
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (n >= others[i].size && !memcmp(p, others[i].bytes, others[i].size))
            return error_set(e, HASTEN_EFILE, "this is %s, a safetensors file or one of ours is needed",
                             others[i].what);
    if (n >= 9 && p[8] == '{' && get64(p) <= FOREIGN_MAX_HEADER) {
        *form = FORM_PLAIN;
        return 0;
    }
    return error_set(e, HASTEN_EFILE, "neither zstd nor safetensors: the first bytes are %02x %02x %02x %02x",
                     p[0], n > 1 ? p[1] : 0u, n > 2 ? p[2] : 0u, n > 3 ? p[3] : 0u);
}

static int open_plain(struct container *c, const unsigned char *start, struct error *e)
{
    struct container_inside *in = c->inside;
    uint64_t n = get64(start); /* recognise: at most FOREIGN_MAX_HEADER */
    if (n < 2 || (int64_t)n > in->in.size - 8)
        return error_set(e, HASTEN_EFILE, "a header of %llu bytes in a file of %lld: it is cut",
                         (unsigned long long)n, (long long)in->in.size);
    in->header_size = n + 8;
    char *text = mem_array(n, 1, e);
    int result = text && input_read_at(&in->in, text, n, 8, e) == 0
                     ? header_parse(c, text, n, in->in.size - 8 - (int64_t)n, e)
                     : -1;
    mem_free(text);
    return result;
}

/* A regular file's tensors can be read one by one. */
static int set_origins(struct container *c, struct error *e)
{
    struct container_inside *in = c->inside;
    if (!(in->origin = mem_array((size_t)c->count, sizeof *in->origin, e)))
        return -1;
    for (int i = 0; i < c->count; i++) {
        struct origin *o = &in->origin[i];
        *o = (struct origin){.in = &in->in, .begin = (int64_t)(in->header_size + in->begin[i])};
        if (in->form == FORM_OURS) {
            o->frame = in->frame_at + in->first_frame[i];
            o->digest = in->digest[i];
            o->known = 1;
        }
        c->tensor[i].origin = o;
    }
    return 0;
}

static int open_inside(struct container *c, const char *path, struct error *e)
{
    struct container_inside *in = c->inside;
    unsigned char start[16];
    if (input_open(&in->in, path, e) < 0)
        return -1;
    if (isatty(in->in.fd))
        return error_set(e, HASTEN_EUSAGE, "it is a terminal: name a FILE, or send one into a pipe");
    if (in->in.size < 0) {
        int64_t n = stream_open(&in->stream, &in->in, e) < 0 ? -1 : stream_peek(&in->stream, sizeof start, e);
        if (n < 0 || recognise(in->stream.buffer, (size_t)n, &in->form, e) < 0)
            return -1;
        return stream_header(c, e);
    }
    size_t n = in->in.size < (int64_t)sizeof start ? (size_t)in->in.size : sizeof start;
    if (input_read_at(&in->in, start, n, 0, e) < 0 || recognise(start, n, &in->form, e) < 0)
        return -1;
    int known = in->form == FORM_PLAIN ? open_plain(c, start, e) < 0 ? -1 : 1 : frames_open(c, e);
    if (known)
        return known < 0 ? -1 : set_origins(c, e);
    return stream_open(&in->stream, &in->in, e) < 0 ? -1 : stream_header(c, e);
}

struct container *container_open(const char *path, const struct container_options *options, struct error *e)
{
    static const struct container_options anything = {.foreign = 1};
    struct container *c = mem_array(1, sizeof *c, e);
    if (!c)
        return NULL;
    c->kind = "";
    c->inside = mem_array(1, sizeof *c->inside, e);
    if (!c->inside)
        goto fail;
    c->inside->in.fd = -1;
    int standard = !path || !strcmp(path, "-");
    c->name = arena_strdup(&c->inside->arena, standard ? "standard input" : path, e);
    if (!c->name)
        goto fail;
    if (!options)
        options = &anything;
    c->inside->memory = options->memory;
    if (open_inside(c, path, e) < 0 || header_accept(c, options, e) < 0) {
        if (e && e->code != HASTEN_EFAIL) /* those of the system name the file already */
            error_in(e, c->name);
        goto fail;
    }
    c->verified = c->inside->form == FORM_OURS;
    return c;
fail:
    container_close(c);
    return NULL;
}

void container_close(struct container *c)
{
    if (!c)
        return;
    struct container_inside *in = c->inside;
    for (int i = 0; i < c->count; i++)
        mem_free(c->tensor[i].data);
    cJSON_Delete(c->meta);
    mem_free(c->tensor);
    if (in) {
        container_rest(c);
        stream_close(&in->stream);
        input_close(&in->in);
        mem_free(in->by_name);
        mem_free(in->begin);
        mem_free(in->first_frame);
        mem_free(in->digest);
        mem_free(in->known);
        mem_free(in->frame_at);
        mem_free(in->origin);
        mem_free(in->frame_size);
        arena_free(&in->arena);
        mem_free(in);
    }
    mem_free(c);
}

/* ---- asking ---- */

int container_index(const struct container *c, const char *name)
{
    const int *by_name = c->inside->by_name;
    int low = 0, high = c->count;
    while (low < high) {
        int middle = low + (high - low) / 2, order = strcmp(c->tensor[by_name[middle]].name, name);
        if (order == 0)
            return by_name[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

const struct tensor *container_find(const struct container *c, const char *name)
{
    int i = container_index(c, name);
    return i < 0 ? NULL : &c->tensor[i];
}

const struct tensor *container_lookup(const void *context, const char *name)
{
    return container_find(context, name);
}

int container_in_order(const struct container *c) { return c->inside->in.size < 0; }

int container_is_foreign(const struct container *c) { return !c->kind[0]; }

const char *container_id(const struct container *c) { return c->inside->id[0] ? c->inside->id : NULL; }

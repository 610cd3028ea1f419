/* Pictures that outlive the run: what is finished already, and the manifest. See generate.h. */
#include "common/base/json.h"
#include "common/file/output.h"
#include "common/image/png.h"
#include "tools/generate.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char note_key[] = "parameters";

int picture_write(const char *path, const struct image *picture, const char *parameters, struct error *e)
{
    struct buf b = {0};
    struct png_note note = {note_key, parameters};
    int status = image_png_write(picture, &note, parameters ? 1 : 0, image_to_buf, &b, e);
    if (status == 0)
        status = output_whole(path, OUTPUT_BINARY, b.data, b.size, e);
    buf_free(&b);
    return status;
}

/* The manifest's line of a picture with these bytes. */
static int line_of(const struct exhibit *x, const char *hash, struct buf *line, struct error *e)
{
    cJSON *o = recipe_describe(x->recipe, &x->image, e);
    int status = !o || json_add_string(o, "file", x->name, e) < 0 || json_add_string(o, "hash", hash, e) < 0
                     ? -1
                     : json_write(line, o, e);
    cJSON_Delete(o);
    return status;
}

/* 0: read. 1: there is no such file, or none that can be read. */
static int read_file(const char *path, struct buf *b, struct error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), status = 0;
    char piece[65536];
    ssize_t n = -1;
    if (fd < 0)
        return 1;
    while (status == 0 && (n = read(fd, piece, sizeof piece)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        status = n < 0 ? 1 : buf_add(b, piece, (size_t)n, e);
    }
    close(fd);
    return status;
}

int gallery_has(struct gallery *g, const struct exhibit *x, struct error *e)
{
    struct buf bytes = {.max = (size_t)256 << 20}, line = {0};
    char hash[HASH_HEX];
    size_t size = 0;
    int status = read_file(x->path, &bytes, e);
    if (status != 0 || !bytes.data) {
        buf_free(&bytes);
        return status < 0 ? -1 : 0;
    }
    const char *note = image_png_note(bytes.data, bytes.size, note_key, &size);
    char *text = note ? recipe_text(x->recipe, &x->image, e) : NULL;
    int finished = text && !g->no_metadata && strlen(text) == size && !memcmp(text, note, size);
    hash_hex(hash_bytes(bytes.data, bytes.size), hash);
    if (g->manifest && line_of(x, hash, &line, e) == 0) {
        if (g->no_metadata && !note)
            finished = manifest_has(g->manifest, line.data);
        if (finished)
            status = manifest_add(g->manifest, line.data, e);
    }
    mem_free(text);
    buf_free(&line);
    buf_free(&bytes);
    return e->code || status < 0 ? -1 : finished;
}

int gallery_put(struct gallery *g, const struct exhibit *x, const struct image *picture, char hash[HASH_HEX],
                struct error *e)
{
    struct buf bytes = {0}, line = {0};
    char own[HASH_HEX], *sum = hash ? hash : own;
    char *text = g->no_metadata ? NULL : recipe_text(x->recipe, &x->image, e);
    struct png_note note = {note_key, text};
    int status = e->code ? -1 : image_png_write(picture, &note, text ? 1 : 0, image_to_buf, &bytes, e);
    if (status == 0) {
        hash_hex(hash_bytes(bytes.data, bytes.size), sum);
        status = output_whole(x->path, OUTPUT_BINARY, bytes.data, bytes.size, e);
    }
    if (status == 0 && g->manifest)
        status = line_of(x, sum, &line, e) < 0 ? -1 : manifest_add(g->manifest, line.data, e);
    mem_free(text);
    buf_free(&line);
    buf_free(&bytes);
    return status;
}

char *manifest_beside(const char *base, const struct shard *s, struct error *e)
{
    char real[PATH_MAX];
    size_t n = strlen(base);
    while (n > 1 && base[n - 1] == '/')
        n--;
    /* "." and ".." have no name of their own */
    if (base[n - 1] == '.' && (n == 1 || base[n - 2] == '/' || base[n - 2] == '.') && realpath(base, real)) {
        base = real;
        n = strlen(base);
    }
    if (s->count == 1)
        return mem_printf(e, "%.*s.manifest.jsonl", (int)n, base);
    return mem_printf(e, "%.*s.manifest-%lld-of-%lld.jsonl", (int)n, base, (long long)s->index,
                      (long long)s->count);
}

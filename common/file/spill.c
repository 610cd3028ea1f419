/* See spill.h. */
#include "common/file/spill.h"
#include "common/file/output.h"
#include "common/file/packer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct spill {
    struct team *team;
    char *folder;
    struct input in; /* fd -1: not made yet */
    int64_t end;
    struct arena arena; /* origins */
    /* while something is added: */
    struct hash128 *hash;
    int64_t *frame;
    size_t pieces;
};

/* A folder on the disk that the result will be on has room for it; what is no regular file has no such
 * folder. */
static char *folder_of(const char *beside, const char *elsewhere, struct error *e)
{
    struct stat st;
    const char *slash = beside ? strrchr(beside, '/') : NULL;
    if (output_is_stdout(beside) || (stat(beside, &st) == 0 && !S_ISREG(st.st_mode)))
        return mem_strdup(elsewhere && *elsewhere ? elsewhere : "/tmp", e);
    return slash ? mem_printf(e, "%.*s", slash > beside ? (int)(slash - beside) : 1, beside)
                 : mem_strdup(".", e);
}

struct spill *spill_open(const char *beside, const char *elsewhere, struct team *team, struct error *e)
{
    struct spill *s = mem_array(1, sizeof *s, e);
    if (!s)
        return NULL;
    s->team = team;
    s->in = (struct input){.fd = -1, .close = 1, .size = -1, .name = "a temporary file"};
    if ((s->folder = folder_of(beside, elsewhere, e)))
        return s;
    spill_close(s);
    return NULL;
}

void spill_close(struct spill *s)
{
    if (!s)
        return;
    input_close(&s->in);
    arena_free(&s->arena);
    mem_free(s->folder);
    mem_free(s);
}

/* Not every file system can make a file without a name; then the name goes at once. */
static int make_file(struct spill *s, struct error *e)
{
    char *path;
    if (fault_hit("open"))
        return error_errno(e, HASTEN_EFAIL, "cannot create a temporary file in '%s'", s->folder);
    s->in.fd = open(s->folder, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    if (s->in.fd < 0) {
        if (!(path = mem_printf(e, "%s/.hasten.XXXXXX", s->folder)))
            return -1;
        s->in.fd = mkostemp(path, O_CLOEXEC);
        if (s->in.fd >= 0)
            unlink(path);
        mem_free(path);
    }
    s->in.fd = input_above(s->in.fd);
    return s->in.fd < 0 ? error_errno(e, HASTEN_EFAIL, "cannot create a temporary file in '%s'", s->folder)
                        : 0;
}

static int put_piece(void *context, const struct piece *p, struct error *e)
{
    struct spill *s = context;
    for (size_t done = 0; done < p->out_size;) {
        ssize_t n = fault_hit("write") ? -1
                                       : pwrite(s->in.fd, p->out + done, p->out_size - done,
                                                (off_t)(s->end + (int64_t)done));
        if (n < 0 && errno != EINTR)
            return error_errno(e, HASTEN_EFAIL, "cannot write a temporary file in '%s'", s->folder);
        done += n > 0 ? (size_t)n : 0;
    }
    s->hash[s->pieces] = p->hash;
    s->end += (int64_t)p->out_size;
    s->frame[++s->pieces] = s->end;
    return 0;
}

/* All pieces in one row; frame[0] is where they begin. */
static int put_all(struct spill *s, struct tensor *const *tensor, int count, size_t pieces, size_t largest,
                   struct error *e)
{
    struct packer p = {.team = s->team, .sink = put_piece, .context = s};
    int status = packer_open(&p, largest, pieces, e);
    s->pieces = 0;
    s->frame[0] = s->end;
    for (int i = 0; status == 0 && i < count; i++)
        status = packer_add(&p, tensor[i], tensor[i]->data, e);
    if (status == 0)
        status = packer_finish(&p, e);
    packer_close(&p);
    return status;
}

int spill_add(struct spill *s, struct tensor *const *tensor, int count, struct error *e)
{
    size_t pieces = 0, largest = 0, at = 0;
    for (int i = 0; i < count; i++) {
        pieces += tensor_pieces(tensor[i]->size);
        largest = tensor[i]->size > largest ? tensor[i]->size : largest;
    }
    if (pieces == 0)
        return 0;
    struct origin *o = arena_alloc(&s->arena, (size_t)count, sizeof *o, e);
    s->frame = arena_alloc(&s->arena, pieces + 1, sizeof *s->frame, e);
    s->hash = mem_array(pieces, sizeof *s->hash, e);
    int status = o && s->frame && s->hash && (s->in.fd >= 0 || make_file(s, e) == 0) &&
                         put_all(s, tensor, count, pieces, largest, e) == 0
                     ? 0
                     : -1;
    for (int i = 0; status == 0 && i < count; i++) {
        size_t n = tensor_pieces(tensor[i]->size);
        o[i] = (struct origin){.in = &s->in, .frame = s->frame + at, .known = 1, .own = 1};
        o[i].digest = tensor_digest(s->hash + at, n);
        at += n;
        mem_free(tensor[i]->data);
        tensor[i]->data = NULL;
        tensor[i]->origin = &o[i];
    }
    mem_free(s->hash);
    s->hash = NULL;
    return status;
}

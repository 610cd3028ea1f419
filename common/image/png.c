/* See png.h. libpng reports errors by longjmp: each direction keeps everything that it owns in one
 * context, the frame that calls setjmp holds nothing else, and its caller cleans up. */
#include "common/image/png.h"
#include "common/base/buf.h"
#include "common/base/mem.h"

#include <png.h>
#include <setjmp.h>
#include <string.h>

enum {
    LEVEL = 6,
    TEXT_CHUNKS_MAX = 64,
    CHUNK_BYTES_MAX = 8 << 20,
    /* deflate makes at most 1032 bytes out of one (zlib's manual: a limiting ratio of about 1030:1). */
    DEFLATE_RATIO = 1032,
};

struct png_work {
    jmp_buf jump;
    struct error *e;
    png_structp png;
    png_infop info;
    int starved; /* an allocation failed; libpng may go on without what it wanted (it drops texts) */
    /* writing */
    image_sink *sink;
    void *to;
    const struct image *picture;
    png_text *texts;
    int text_count;
    /* reading */
    const unsigned char *bytes;
    size_t left, size;
    struct image read;
    png_bytep *rows;
};

static void *work_alloc(png_structp png, png_alloc_size_t n)
{
    struct png_work *w = png_get_mem_ptr(png);
    void *block = mem_small(n);
    if (!block)
        w->starved = 1;
    return block;
}

static void work_free(png_structp png, void *block)
{
    (void)png;
    mem_small_free(block);
}

static _Noreturn void fail(png_structp png, png_const_charp message)
{
    struct png_work *w = png_get_error_ptr(png);
    if (w->starved)
        error_set(w->e, HASTEN_ENOMEM, "out of memory in a PNG file: %s", message);
    else
        error_set(w->e, HASTEN_EFILE, "bad PNG file: %s", message);
    longjmp(w->jump, 1);
}

static void ignore_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static int starved(struct png_work *w)
{
    return error_set(w->e, HASTEN_ENOMEM, "out of memory in a PNG file");
}

/* Writing. */

int image_to_buf(void *buf, const void *data, size_t n, struct error *e)
{
    return buf_add(buf, data, n, e);
}

static void put(png_structp png, png_bytep data, size_t n)
{
    struct png_work *w = png_get_io_ptr(png);
    if (w->sink(w->to, data, n, w->e) < 0)
        longjmp(w->jump, 1);
}

static void flush_nothing(png_structp png) { (void)png; }

static int encode(struct png_work *w)
{
    if (setjmp(w->jump))
        return -1;
    w->png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, w, fail, ignore_warning, w, work_alloc,
                                       work_free);
    w->info = w->png ? png_create_info_struct(w->png) : NULL;
    if (!w->info)
        return starved(w);
    const struct image *p = w->picture;
    png_set_write_fn(w->png, w, put, flush_nothing);
    png_set_compression_level(w->png, LEVEL);
    png_set_filter(w->png, PNG_FILTER_TYPE_BASE, PNG_ALL_FILTERS);
    png_set_IHDR(w->png, w->info, (png_uint_32)p->width, (png_uint_32)p->height, 8,
                 p->channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (w->text_count)
        png_set_text(w->png, w->info, w->texts, w->text_count);
    png_write_info(w->png, w->info);
    size_t stride = (size_t)p->width * (size_t)p->channels;
    for (int y = 0; y < p->height; y++)
        png_write_row(w->png, p->data + (size_t)y * stride);
    png_write_end(w->png, w->info);
    return w->starved ? starved(w) : 0;
}

static int is_ascii(const char *s)
{
    while (*s && (unsigned char)*s < 0x80)
        s++;
    return !*s;
}

/* The standard's rules for keywords (11.3.4.2), ASCII only. */
static int key_good(const char *key)
{
    size_t n = strlen(key);
    if (n < 1 || n > 79 || key[0] == ' ' || key[n - 1] == ' ' || strstr(key, "  "))
        return 0;
    for (size_t i = 0; i < n; i++)
        if (key[i] < 0x20 || key[i] > 0x7E)
            return 0;
    return 1;
}

static int notes_to_texts(struct png_work *w, const struct png_note *notes, int count)
{
    w->texts = mem_array((size_t)count, sizeof *w->texts, w->e);
    if (!w->texts)
        return -1;
    w->text_count = count;
    for (int i = 0; i < count; i++) {
        if (!key_good(notes[i].key))
            return error_set(w->e, HASTEN_EFILE, "'%.100s' cannot be the key of a PNG text",
                             notes[i].key);
        size_t n = strlen(notes[i].text);
        if (n > CHUNK_BYTES_MAX)
            return error_set(w->e, HASTEN_EFILE,
                             "the PNG text '%s' has %zu bytes, at most %d are written", notes[i].key, n,
                             CHUNK_BYTES_MAX);
        /* libpng takes pointers to non-const here and only reads them. */
        w->texts[i].key = (char *)(uintptr_t)notes[i].key;
        w->texts[i].text = (char *)(uintptr_t)notes[i].text;
        if (is_ascii(notes[i].text)) {
            w->texts[i].compression = PNG_TEXT_COMPRESSION_NONE;
            w->texts[i].text_length = n;
        } else {
            w->texts[i].compression = PNG_ITXT_COMPRESSION_NONE;
            w->texts[i].itxt_length = n;
        }
    }
    return 0;
}

int image_png_write(const struct image *picture, const struct png_note *notes, int count,
                    image_sink *sink, void *to, struct error *e)
{
    struct error own = {0};
    struct png_work w = {.e = e ? e : &own, .sink = sink, .to = to, .picture = picture};
    int status = notes_to_texts(&w, notes, count);
    if (status == 0) {
        status = encode(&w);
        png_destroy_write_struct(&w.png, &w.info);
    }
    mem_free(w.texts);
    return status;
}

/* Reading. */

static void get(png_structp png, png_bytep out, size_t n)
{
    struct png_work *w = png_get_io_ptr(png);
    if (n > w->left)
        png_error(png, "the file ends too early");
    memcpy(out, w->bytes, n);
    w->bytes += n;
    w->left -= n;
}

static void set_limits(png_structp png)
{
    png_set_user_limits(png, IMAGE_SIDE_MAX, IMAGE_SIDE_MAX);
    png_set_chunk_cache_max(png, TEXT_CHUNKS_MAX);
    png_set_chunk_malloc_max(png, CHUNK_BYTES_MAX);
    png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_WARN_DISCARD);
    /* Only what changes samples is of interest; texts and profiles of any size are passed over. */
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
}

/* Ask libpng for 8-bit gray or RGB, whatever the file has. */
static void set_transforms(struct png_work *w)
{
    int type = png_get_color_type(w->png, w->info), depth = png_get_bit_depth(w->png, w->info);
    if (type == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(w->png);
    else if (depth < 8)
        png_set_expand_gray_1_2_4_to_8(w->png);
    if (depth == 16)
        png_set_scale_16(w->png);
    png_set_strip_alpha(w->png); /* an alpha channel, or the one that a palette's tRNS becomes */
    png_set_interlace_handling(w->png);
    png_read_update_info(w->png, w->info);
}

static int room_for_rows(struct png_work *w)
{
    png_uint_32 width = png_get_image_width(w->png, w->info),
                height = png_get_image_height(w->png, w->info);
    int type = png_get_color_type(w->png, w->info);
    size_t packed =
        png_get_rowbytes(w->png, w->info) * height; /* as the file has it: before the transforms */
    if (packed / DEFLATE_RATIO > w->size)
        return error_set(w->e, HASTEN_EFILE, "bad PNG file: %zu bytes cannot hold %u x %u pixels",
                         w->size, width, height);
    set_transforms(w);
    if (image_new((int)width, (int)height, type & PNG_COLOR_MASK_COLOR ? 3 : 1, &w->read, w->e) < 0)
        return -1;
    size_t stride = (size_t)width * (size_t)w->read.channels;
    if (png_get_rowbytes(w->png, w->info) != stride)
        return error_set(w->e, HASTEN_EFILE, "bad PNG file: rows of %zu bytes where %zu were expected",
                         png_get_rowbytes(w->png, w->info), stride);
    w->rows = mem_array(height, sizeof *w->rows, w->e);
    if (!w->rows)
        return -1;
    for (png_uint_32 y = 0; y < height; y++)
        w->rows[y] = w->read.data + y * stride;
    return 0;
}

static int decode(struct png_work *w)
{
    if (setjmp(w->jump))
        return -1;
    w->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, w, fail, ignore_warning, w, work_alloc,
                                      work_free);
    w->info = w->png ? png_create_info_struct(w->png) : NULL;
    if (!w->info)
        return starved(w);
    png_set_read_fn(w->png, w, get);
    set_limits(w->png);
    png_read_info(w->png, w->info);
    if (room_for_rows(w) < 0)
        return -1;
    png_read_image(w->png, w->rows);
    png_read_end(w->png, NULL);
    return w->starved ? starved(w) : 0;
}

int image_png_read(const void *bytes, size_t n, struct image *out, struct error *e)
{
    struct error own = {0};
    struct png_work w = {.e = e ? e : &own, .bytes = bytes, .left = n, .size = n};
    if (n < 8 || png_sig_cmp(bytes, 0, 8))
        return error_set(e, HASTEN_EFILE, "not a PNG file");
    int status = decode(&w);
    png_destroy_read_struct(&w.png, &w.info, NULL);
    mem_free(w.rows);
    if (status < 0)
        image_free(&w.read);
    else
        *out = w.read;
    return status;
}

/* Pictures, PNG files and contact sheets. The PNG oracle was put together by scripts/golden/pictures.py
 * without libpng; what we write is taken apart here chunk by chunk. */
#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/tests/run_suite.h"
#include "common/image/font.h"
#include "common/image/png.h"
#include "common/image/sheet.h"
#include "common/method/tests/golden.h"

#include <math.h>

#define GOLDEN "testdata/golden/pictures.json"

static void fill_noise(struct image *p, unsigned seed)
{
    size_t n = (size_t)p->width * (size_t)p->height * (size_t)p->channels;
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        p->data[i] = (unsigned char)(seed >> 24);
    }
}

static struct image noise(int width, int height, int channels, unsigned seed)
{
    struct image p = {0};
    ck_assert_int_eq(image_new(width, height, channels, &p, NULL), 0);
    fill_noise(&p, seed);
    return p;
}

static size_t bytes_of(const struct image *p)
{
    return (size_t)p->width * (size_t)p->height * (size_t)p->channels;
}

START_TEST(test_float_rule_of_diffusers)
{
    cJSON *root = golden_load(GOLDEN);
    const cJSON *floats = golden_get(root, "floats");
    int n;
    size_t want_n;
    float *x = golden_floats(floats, "x", &n);
    unsigned char *want = golden_bytes(floats, "bytes", &want_n);
    ck_assert_uint_eq((size_t)n, want_n);
    struct error e = {0};
    struct image p = {0};
    ck_assert_msg(image_from_float(x, 1, 3, n / 3, -1, 1, &p, &e) == 0, "%s", e.text);
    ck_assert_mem_eq(p.data, want, want_n);
    image_free(&p);
    /* Three planes become interleaved samples. */
    ck_assert_int_eq(image_from_float(x, 3, 1, n / 3, -1, 1, &p, &e), 0);
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < n / 3; i++)
            ck_assert_uint_eq(p.data[3 * i + c], want[c * (n / 3) + i]);
    image_free(&p);
    free(x);
    free(want);
    cJSON_Delete(root);
}
END_TEST

START_TEST(test_float_refusals)
{
    float x[12] = {0};
    struct image p = {0};
    struct error e = {0};
    x[7] = NAN;
    ck_assert_int_eq(image_from_float(x, 1, 3, 4, -1, 1, &p, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EFAIL);
    ck_assert_ptr_nonnull(strstr(e.text, "channel 0, row 1, column 3"));
    x[7] = 0;
    e.code = 0;
    ck_assert_int_eq(image_from_float(x, 1, 3, 4, 1, 1, &p, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EFILE);
    e.code = 0;
    ck_assert_int_eq(image_from_float(x, 4, 1, 3, -1, 1, &p, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EFILE);
    e.code = 0;
    ck_assert_int_eq(image_new(IMAGE_SIDE_MAX, IMAGE_SIDE_MAX, 3, &p, &e), -1);
    ck_assert_ptr_null(p.data);
}
END_TEST

START_TEST(test_bytes_come_back_from_floats)
{
    const float ranges[][2] = {{-1, 1}, {0, 1}, {-0.5f, 2.25f}, {0, 255}};
    struct image p = {0}, q = {0};
    ck_assert_int_eq(image_new(16, 16, 3, &p, NULL), 0);
    for (size_t i = 0; i < 768; i++)
        p.data[i] = (unsigned char)(i / 3);
    for (int r = 0; r < 4; r++) {
        float planes[768];
        image_to_float(&p, ranges[r][0], ranges[r][1], planes);
        ck_assert_float_eq(planes[0], ranges[r][0]);
        ck_assert_float_eq_tol(planes[255], ranges[r][1], 1e-6f * fabsf(ranges[r][1]));
        ck_assert_int_eq(image_from_float(planes, 3, 16, 16, ranges[r][0], ranges[r][1], &q, NULL), 0);
        ck_assert_mem_eq(p.data, q.data, 768);
        image_free(&q);
    }
    image_free(&p);
}
END_TEST

START_TEST(test_read_every_kind)
{
    cJSON *root = golden_load(GOLDEN), *item;
    int count = 0;
    cJSON_ArrayForEach(item, golden_get(root, "files"))
    {
        size_t n, want_n;
        unsigned char *file = golden_bytes(item, "file", &n),
                      *want = golden_bytes(item, "pixels", &want_n);
        struct error e = {0};
        struct image p = {0};
        const char *name = golden_get(item, "name")->valuestring;
        ck_assert_msg(image_png_read(file, n, &p, &e) == 0, "%s: %s", name, e.text);
        ck_assert_int_eq(p.width, golden_int(item, "width"));
        ck_assert_int_eq(p.height, golden_int(item, "height"));
        ck_assert_int_eq(p.channels, golden_int(item, "channels"));
        ck_assert_uint_eq(bytes_of(&p), want_n);
        ck_assert_msg(memcmp(p.data, want, want_n) == 0, "%s: pixels differ", name);
        image_free(&p);
        free(file);
        free(want);
        count++;
    }
    ck_assert_int_eq(count, 30);
    cJSON_Delete(root);
}
END_TEST

static uint32_t crc(const unsigned char *data, size_t n)
{
    uint32_t c = 0xFFFFFFFFu;
    for (size_t i = 0; i < n; i++) {
        c ^= data[i];
        for (int k = 0; k < 8; k++)
            c = c >> 1 ^ (c & 1 ? 0xEDB88320u : 0);
    }
    return ~c;
}

static uint32_t be32(const unsigned char *b)
{
    return (uint32_t)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
}

/* The data of the n-th chunk of a kind; every chunk's CRC is checked on the way. */
static const unsigned char *chunk(const struct buf *b, const char *kind, int n, size_t *size)
{
    const unsigned char *p = (const unsigned char *)b->data + 8,
                        *end = (const unsigned char *)b->data + b->size;
    const unsigned char *found = NULL;
    while (p < end) {
        uint32_t length = be32(p);
        ck_assert_uint_le(length, (size_t)(end - p));
        ck_assert_uint_eq(be32(p + 8 + length), crc(p + 4, 4 + length));
        if (!found && memcmp(p + 4, kind, 4) == 0 && n-- == 0) {
            found = p + 8;
            *size = length;
        }
        p += 12 + length;
    }
    return found;
}

START_TEST(test_write_then_take_apart)
{
    const struct png_note notes[] = {{"Software", "hasten"},
                                     {"parameters", "{\"seed\":7}\nline 2"},
                                     {"Title", "Gr\xC3\xBC\xC3\x9F"
                                               "e"}};
    for (int channels = 1; channels <= 3; channels += 2) {
        struct image p = noise(13, 7, channels, 3), q = {0};
        struct buf a = {0}, b = {0};
        struct error e = {0};
        ck_assert_msg(image_png_write(&p, notes, 3, image_to_buf, &a, &e) == 0, "%s", e.text);
        ck_assert_int_eq(image_png_write(&p, notes, 3, image_to_buf, &b, &e), 0);
        ck_assert_uint_eq(a.size, b.size);
        ck_assert_mem_eq(a.data, b.data, a.size);
        size_t n = 0;
        const unsigned char *c = chunk(&a, "IHDR", 0, &n);
        const unsigned char head[13] = {0, 0, 0, 13, 0, 0, 0, 7, 8, channels == 1 ? 0 : 2, 0, 0, 0};
        ck_assert_uint_eq(n, 13);
        ck_assert_mem_eq(c, head, 13);
        c = chunk(&a, "tEXt", 0, &n);
        ck_assert_uint_eq(n, 15);
        ck_assert_mem_eq(c, "Software\0hasten", 15);
        c = chunk(&a, "tEXt", 1, &n);
        ck_assert_uint_eq(n, 11 + 17);
        ck_assert_mem_eq(c, "parameters\0{\"seed\":7}\nline 2", 28);
        c = chunk(&a, "iTXt", 0, &n);
        ck_assert_uint_eq(n, 6 + 2 + 2 + 7);
        ck_assert_mem_eq(c,
                         "Title\0\0\0\0\0Gr\xC3\xBC\xC3\x9F"
                         "e",
                         17);
        ck_assert_ptr_null(chunk(&a, "tIME", 0, &n));
        ck_assert_msg(image_png_read(a.data, a.size, &q, &e) == 0, "%s", e.text);
        ck_assert_int_eq(q.channels, channels);
        ck_assert_mem_eq(q.data, p.data, bytes_of(&p));
        buf_free(&a);
        buf_free(&b);
        image_free(&p);
        image_free(&q);
    }
}
END_TEST

START_TEST(test_bad_notes)
{
    const char *keys[] = {
        "",
        " a",
        "a ",
        "a  b",
        "a\nb",
        "\xC3\xBC",
        "12345678901234567890123456789012345678901234567890123456789012345678901234567890"};
    struct image p = noise(2, 2, 1, 1);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct png_note note = {keys[i], "x"};
        struct buf b = {0};
        struct error e = {0};
        ck_assert_int_eq(image_png_write(&p, &note, 1, image_to_buf, &b, &e), -1);
        ck_assert_int_eq(e.code, HASTEN_EFILE);
        buf_free(&b);
    }
    image_free(&p);
}
END_TEST

START_TEST(test_truncation_and_flips)
{
    struct image p = noise(9, 5, 3, 9);
    struct buf b = {0};
    const struct png_note note = {"k", "v"};
    ck_assert_int_eq(image_png_write(&p, &note, 1, image_to_buf, &b, NULL), 0);
    size_t live = mem_live_blocks();
    for (size_t n = 0; n < b.size; n++) {
        struct error e = {0};
        struct image q = {0};
        ck_assert_msg(image_png_read(b.data, n, &q, &e) == -1, "accepted %zu of %zu bytes", n, b.size);
        ck_assert_int_eq(e.code, HASTEN_EFILE);
        ck_assert_ptr_null(q.data);
    }
    int rejected = 0;
    for (size_t bit = 0; bit < 8 * b.size; bit++) {
        struct error e = {0};
        struct image q = {0};
        b.data[bit / 8] ^= (char)(1 << bit % 8);
        if (image_png_read(b.data, b.size, &q, &e) < 0) {
            ck_assert_int_eq(e.code, HASTEN_EFILE);
            rejected++;
        } else { /* a flip in an optional chunk */
            ck_assert_uint_eq(bytes_of(&q), bytes_of(&p));
            ck_assert_mem_eq(q.data, p.data, bytes_of(&p));
        }
        image_free(&q);
        b.data[bit / 8] ^= (char)(1 << bit % 8);
    }
    ck_assert_int_gt(rejected,
                     8 * (8 + 25 + 135)); /* signature, IHDR and the picture's bytes at the least */
    ck_assert_uint_eq(mem_live_blocks(), live);
    buf_free(&b);
    image_free(&p);
}
END_TEST

START_TEST(test_promises_that_cannot_be_kept)
{
    /* 16384 x 16384 RGB in 57 bytes: refused before 768 MiB are allocated. */
    unsigned char file[8 + 25 + 12 + 12] =
        "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x40\0\0\0\x40\0\x08\x02\0\0\0";
    uint32_t sum = crc(file + 12, 17);
    for (int i = 0; i < 4; i++)
        file[29 + i] = (unsigned char)(sum >> (24 - 8 * i));
    memcpy(file + 33, "\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82", 24);
    struct image q = {0};
    struct error e = {0};
    size_t live = mem_live_blocks();
    mem_limit(mem_live() + (1 << 20));
    ck_assert_int_eq(image_png_read(file, sizeof file, &q, &e), -1);
    mem_limit(0);
    ck_assert_int_eq(e.code, HASTEN_EFILE);
    ck_assert_ptr_nonnull(strstr(e.text, "16384 x 16384"));
    ck_assert_uint_eq(mem_live_blocks(), live);
    e.code = 0;
    ck_assert_int_eq(image_png_read("GIF89a..", 8, &q, &e), -1);
    ck_assert_str_eq(e.text, "not a PNG file");
}
END_TEST

struct short_sink {
    size_t room;
};

static int take_some(void *to, const void *data, size_t n, struct error *e)
{
    struct short_sink *s = to;
    (void)data;
    if (n > s->room)
        return error_set(e, HASTEN_EFAIL, "the disk is full");
    s->room -= n;
    return 0;
}

START_TEST(test_a_sink_that_fails)
{
    struct image p = noise(40, 30, 3, 5);
    struct buf b = {0};
    ck_assert_int_eq(image_png_write(&p, NULL, 0, image_to_buf, &b, NULL), 0);
    size_t live = mem_live_blocks();
    for (size_t room = 0; room < b.size; room += 7) {
        struct short_sink s = {room};
        struct error e = {0};
        ck_assert_int_eq(image_png_write(&p, NULL, 0, take_some, &s, &e), -1);
        ck_assert_str_eq(e.text, "the disk is full");
        ck_assert_uint_eq(mem_live_blocks(), live);
    }
    buf_free(&b);
    image_free(&p);
}
END_TEST

START_TEST(test_every_allocation_fails_once)
{
    struct image p = noise(20, 20, 3, 6), q = {0};
    const struct png_note notes[] = {{"a", "text"}, {"b", "\xC3\xBC"}};
    struct buf good = {0};
    ck_assert_int_eq(image_png_write(&p, notes, 2, image_to_buf, &good, NULL), 0);
    size_t live = mem_live_blocks();
    int failures[2] = {0}, done[2] = {0};
    for (int k = 1; !done[0] || !done[1]; k++) {
        ck_assert_int_lt(k, 200);
        char setting[32];
        snprintf(setting, sizeof setting, "alloc:%d", k);
        for (int way = 0; way < 2; way++) {
            struct error e = {0};
            struct buf b = {0};
            fault_set(setting);
            int status = way ? image_png_read(good.data, good.size, &q, &e)
                             : image_png_write(&p, notes, 2, image_to_buf, &b, &e);
            fault_set(NULL);
            if (status < 0) {
                ck_assert_msg(e.code == HASTEN_ENOMEM, "%s", e.text);
                failures[way]++;
            } else {
                done[way] = 1;
                if (!way) /* a dropped text would show here */
                    ck_assert_msg(b.size == good.size && memcmp(b.data, good.data, b.size) == 0,
                                  "allocation %d", k);
            }
            buf_free(&b);
            image_free(&q);
            ck_assert_uint_eq(mem_live_blocks(), live);
        }
    }
    ck_assert_int_gt(failures[0], 5);
    ck_assert_int_gt(failures[1], 4);
    buf_free(&good);
    image_free(&p);
}
END_TEST

START_TEST(test_font)
{
    /* Every visible character is drawn, none twice, none wider than its cell. */
    unsigned long long seen[95];
    for (int c = 0x20; c <= 0x7E; c++) {
        unsigned long long bits = 0;
        for (int row = 0; row < FONT_HEIGHT; row++) {
            ck_assert_uint_lt(font_row((char)c, row), 1u << FONT_WIDTH);
            bits = bits << FONT_WIDTH | font_row((char)c, row);
        }
        ck_assert_msg((bits == 0) == (c == ' '), "character %c", c);
        for (int d = 0; d < c - 0x20; d++)
            ck_assert_msg(seen[d] != bits, "characters %c and %c look the same", c, d + 0x20);
        seen[c - 0x20] = bits;
    }
    ck_assert_int_eq(font_width("", 2), 0);
    ck_assert_int_eq(font_width("ab", 1), 11);
    ck_assert_int_eq(font_width("\xC3\xBC", 3), 15); /* one box */
    struct image p = {0};
    ck_assert_int_eq(image_new(12, 7, 1, &p, NULL), 0);
    font_draw(&p, 0, 0, 1, 9, "LT!"); /* the third is cut off by the side */
    const char *want = "#.....#####."
                       "#.......#..."
                       "#.......#..."
                       "#.......#..."
                       "#.......#..."
                       "#.......#..."
                       "#####...#...";
    for (int i = 0; i < 84; i++)
        ck_assert_msg((p.data[i] == 9) == (want[i] == '#'), "pixel %d", i);
    image_free(&p);
}
END_TEST

START_TEST(test_sheet)
{
    struct image pictures[5], sheet = {0};
    for (int i = 0; i < 5; i++)
        pictures[i] = noise(28, 20, i == 4 ? 3 : 1, (unsigned)i + 1);
    const struct sheet_row rows[] = {{"full 50", pictures, 2}, {NULL, pictures + 2, 3}};
    struct error e = {0};
    ck_assert_int_eq(sheet_factor(28, 20), 4);
    ck_assert_int_eq(sheet_factor(96, 20), 1);
    ck_assert_int_eq(sheet_factor(1, 1), 96);
    ck_assert_msg(sheet_make(rows, 2, 2, &sheet, &e) == 0, "%s", e.text);
    /* Two columns: one line for row 0, two for row 1; label of 7 * 2 pixels and a gap over the first. */
    ck_assert_int_eq(sheet.width, 4 + 2 * (112 + 4));
    ck_assert_int_eq(sheet.height, 4 + 18 + 3 * (80 + 4));
    ck_assert_int_eq(sheet.channels, 3);
    const int left[] = {4, 120, 4, 120, 4}, top[] = {22, 22, 106, 106, 190};
    for (int i = 0; i < 5; i++)
        for (int y = 0; y < 80; y++)
            for (int x = 0; x < 112; x++)
                for (int c = 0; c < 3; c++) {
                    int channels = pictures[i].channels;
                    int want =
                        pictures[i].data[((y / 4) * 28 + x / 4) * channels + (channels == 3 ? c : 0)];
                    ck_assert_int_eq(sheet.data[((top[i] + y) * sheet.width + left[i] + x) * 3 + c],
                                     want);
                }
    ck_assert_uint_eq(sheet.data[0], 255);
    int dark = 0;
    for (int i = 4 * sheet.width * 3; i < 18 * sheet.width * 3; i++)
        dark += sheet.data[i] == 0;
    ck_assert_int_gt(dark, 7 * 3 * 8);
    image_free(&sheet);
    /* One row alone becomes a square; a long label widens the sheet. */
    const struct sheet_row five = {"a label that is a good deal longer than the pictures below it",
                                   pictures, 5};
    ck_assert_int_eq(sheet_make(&five, 1, 0, &sheet, &e), 0);
    ck_assert_int_eq(sheet.height, 4 + 18 + 2 * 84);
    ck_assert_int_eq(sheet.width, (int)strlen(five.label) * 12 - 2 + 8);
    image_free(&sheet);
    image_free(&pictures[3]);
    pictures[3] = noise(28, 21, 1, 1);
    ck_assert_int_eq(sheet_make(rows, 2, 2, &sheet, &e), -1);
    ck_assert_ptr_nonnull(strstr(e.text, "28 x 21"));
    e.code = 0;
    ck_assert_int_eq(sheet_make(rows, 0, 0, &sheet, &e), -1);
    for (int i = 0; i < 5; i++)
        image_free(&pictures[i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("image");
    TCase *c = tcase_create("image");
    tcase_add_test(c, test_float_rule_of_diffusers);
    tcase_add_test(c, test_float_refusals);
    tcase_add_test(c, test_bytes_come_back_from_floats);
    tcase_add_test(c, test_read_every_kind);
    tcase_add_test(c, test_write_then_take_apart);
    tcase_add_test(c, test_bad_notes);
    tcase_add_test(c, test_truncation_and_flips);
    tcase_add_test(c, test_promises_that_cannot_be_kept);
    tcase_add_test(c, test_a_sink_that_fails);
    tcase_add_test(c, test_every_allocation_fails_once);
    tcase_add_test(c, test_font);
    tcase_add_test(c, test_sheet);
    suite_add_tcase(suite, c);
    return run_suite(suite);
}

/* The strict JSON tokenizer under json_parse and under the container's header, which has too many tensors to
 * build a tree of them. The caller asks for what may come next; everything is checked on the way.
 *
 *     struct json_reader r;
 *     json_start(&r, text, size, e);
 *     int more;
 *     json_enter(&r, '{', &more);                       // -1 on any error, with e set: "not valid JSON at
 * byte 17: ..." while (more) { json_key(&r, &key); json_number(&r, &x); json_next(&r, '}', &more);
 *     }
 *     json_end(&r);
 *
 * Keys of an object are not compared with each other here: that takes all of them (json.c,
 * container_header.c). */
#ifndef HASTEN_BASE_JSON_READ_H
#define HASTEN_BASE_JSON_READ_H

#include "common/base/error.h"
#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdint.h>

struct json_reader {
    const char *text;
    size_t size, at;
    int depth;
    int values;
    struct error *e;
};

/* A string as it stands in the text, between its quotes, known to be valid. */
struct json_slice {
    const char *raw;
    size_t size; /* also the most that json_decode writes, without the NUL */
    int escaped; /* has backslashes */
};

int json_start(struct json_reader *r, const char *text, size_t size, struct error *e) HASTEN_CHECKED;
/* First byte of the value that comes next ('-' for any number), or -1. */
int json_peek(struct json_reader *r) HASTEN_CHECKED;
/* Into an object or array; *more is 0 when it is empty (then it has been left again). */
int json_enter(struct json_reader *r, char open, int *more) HASTEN_CHECKED;
/* Behind a member: *more is 1 when there is another one, 0 when `close` came. */
int json_next(struct json_reader *r, char close, int *more) HASTEN_CHECKED;
int json_key(struct json_reader *r, struct json_slice *key) HASTEN_CHECKED; /* and its ':' */
int json_text(struct json_reader *r, struct json_slice *s) HASTEN_CHECKED;
int json_number(struct json_reader *r, double *value) HASTEN_CHECKED;
/* Plain digits, no sign, fraction or exponent, at most 2^53. */
int json_count(struct json_reader *r, int64_t *value) HASTEN_CHECKED;
int json_word(struct json_reader *r, const char *word) HASTEN_CHECKED; /* true, false, null */
int json_end(struct json_reader *r) HASTEN_CHECKED;                    /* nothing but blanks may follow */
int json_bad(struct json_reader *r, const char *why);                  /* an error at the present byte; -1 */

/* The value that comes next as a tree, which the caller owns; objects have no equal keys. NULL: error. */
cJSON *json_value(struct json_reader *r) HASTEN_CHECKED;

/* The string itself, NUL-terminated, into s->size + 1 bytes. Gives its length. */
size_t json_decode(const struct json_slice *s, char *out);
int json_slice_is(const struct json_slice *s, const char *word);

/* Length of the well-formed UTF-8 sequence at s (n bytes left), 0: none. */
size_t json_utf8(const unsigned char *s, size_t n);

#endif

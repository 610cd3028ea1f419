/* Numbers: arithmetic that cannot wrap unseen, and the numbers of a command line.
 *
 *     int64_t total;
 *     if (num_mul(rows, columns, &total) || num_add(total, offset, &total))
 *         return error_set(e, HASTEN_EFILE, "...");                 // 1: the result does not fit
 *
 *     int64_t steps;
 *     if (num_int("--steps", optarg, 1, 10000, &steps, e) < 0)      // "--steps: '5x' is not an integer"
 *         return -1;
 *
 * The parsers take the whole string or nothing: no blanks, no text behind, no locale, no hexadecimal, no
 * "nan". `what` names the number in messages (an option, a key). Errors are HASTEN_EUSAGE. */
#ifndef HASTEN_BASE_NUM_H
#define HASTEN_BASE_NUM_H

#include "common/base/error.h"
#include <stdint.h>

/* 1 when the result does not fit (then *out is undefined), else 0. */
static inline int num_add(int64_t a, int64_t b, int64_t *out) { return __builtin_add_overflow(a, b, out); }
static inline int num_mul(int64_t a, int64_t b, int64_t *out) { return __builtin_mul_overflow(a, b, out); }
static inline int num_add_size(size_t a, size_t b, size_t *out) { return __builtin_add_overflow(a, b, out); }
static inline int num_mul_size(size_t a, size_t b, size_t *out) { return __builtin_mul_overflow(a, b, out); }

/* Decimal integer, optional '-', within min..max. */
int num_int(const char *what, const char *text, int64_t min, int64_t max, int64_t *out,
            struct error *e) HASTEN_CHECKED;

/* 0 .. 2^64 - 1, for seeds. */
int num_u64(const char *what, const char *text, uint64_t *out, struct error *e) HASTEN_CHECKED;

/* Decimal number as in C ("2", "-0.5", "1e-3"), finite, within min..max. */
int num_double(const char *what, const char *text, double min, double max, double *out,
               struct error *e) HASTEN_CHECKED;

/* SIZE in bytes: a decimal number with an optional suffix K, M or G (1024-based, either case): "1536M",
 * "1.5G", "0". Fractions of a byte are dropped. At most SIZE_MAX / 2. */
int num_size(const char *what, const char *text, size_t *out, struct error *e) HASTEN_CHECKED;

/* WxH in pixels, each 1 .. max: "64x48". */
int num_pair(const char *what, const char *text, int max, int *width, int *height,
             struct error *e) HASTEN_CHECKED;

/* LIST: "207", "0,3,5", "0-9", "0-3,8", at most `limit` numbers, each within min..max; a range counts
 * upwards. *out is a mem_array of *count (>= 1) numbers, freed by the caller with mem_free. */
int num_list(const char *what, const char *text, int64_t min, int64_t max, size_t limit, int64_t **out,
             size_t *count, struct error *e) HASTEN_CHECKED;

/* strtod of the C locale whatever the program's locale is; the text must be a JSON number of n < 64 bytes (it
 * needs no NUL behind it). Infinite when it overflows. */
double num_strtod(const char *text, size_t n);

/* The canonical text of a finite number: integers up to 2^53 exactly, all else as %.9g; '.' in every locale.
 * Gives the length. -0 is "0". */
enum { NUM_TEXT = 32 };
int num_text(double value, char out[NUM_TEXT]);

#endif

/* Errors: every fallible function takes a struct error last, returns 0 or -1 (or NULL), and says what went
 * wrong in one sentence: what, where, found, expected, what to do.
 *
 *     struct error e = {0};
 *     if (thing_open(&t, path, &e) < 0)
 *         return tool_fail(&e);            // prints "quantize: PATH: text", exits with e.code
 *
 *     // inside a library function:
 *     if (rank > MAX_RANK)
 *         return error_set(e, HASTEN_EFILE, "tensor '%s' has rank %d, at most %d is supported", name, rank,
 * MAX_RANK);
 *
 * The first error wins: a second error_set on the same object keeps the first text. Texts start in lower case
 * and have no full stop. Control bytes in the text are replaced when it is set, since names come from files.
 */
#ifndef HASTEN_BASE_ERROR_H
#define HASTEN_BASE_ERROR_H

#include <stddef.h>

/* Kinds are the exit codes of the tools. */
enum {
    HASTEN_OK = 0,
    HASTEN_EFAIL = 1,  /* cannot open, cannot write, a system call failed */
    HASTEN_EUSAGE = 2, /* the command line */
    HASTEN_EGATE = 3,  /* a requested gate or budget is not met */
    HASTEN_EFILE = 4,  /* bad or mismatched file content */
    HASTEN_ENOMEM = 5, /* out of memory, predicted or real */
};

struct error {
    int code;        /* 0: no error */
    int system;      /* errno behind it, 0: none */
    char text[1000]; /* without tool name and path */
};

#define HASTEN_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define HASTEN_CHECKED __attribute__((warn_unused_result))

/* Record an error unless one is recorded already. Always returns -1. e may be NULL. */
int error_set(struct error *e, int code, const char *format, ...) HASTEN_PRINTF(3, 4);

/* The same with ": " and strerror(errno) at the end. */
int error_errno(struct error *e, int code, const char *format, ...) HASTEN_PRINTF(3, 4);

/* Put "context: " before the recorded text ("tensor 'a.weight'", a path). Always returns -1. */
int error_under(struct error *e, const char *format, ...) HASTEN_PRINTF(2, 3);

/* Put the path of a file there, unless the text names it already. Always returns -1. */
int error_in(struct error *e, const char *path);

/* Replace control bytes (and invalid UTF-8) of a string by '?', in place. */
void text_mask(char *s);

#endif

/* Memory: checked, zeroed, counted, and able to fail on purpose.
 *
 *     float *x = mem_array(rows, cols * sizeof *x, e);     // rows * cols checked for overflow, zeroed,
 * 64-aligned if (!x) return -1;                                   // e says how much was wanted
 *     ...
 *     mem_free(x);
 *
 * Every allocation of the toolkit goes through here, so that a test can make allocation k fail:
 * HASTEN_FAULT=alloc:K fails the K-th allocation (1-based) once, alloc:K+ that one and all later ones.
 * An arena holds what is freed together (the metadata of one file, one graph). */
#ifndef HASTEN_BASE_MEM_H
#define HASTEN_BASE_MEM_H

#include "common/base/error.h"
#include <stdarg.h>
#include <stdint.h>

/* count * size bytes, zeroed, aligned to 64. NULL with HASTEN_ENOMEM on overflow or failure. Size 0 gives a
 * valid pointer. Free with mem_free. */
void *mem_array(size_t count, size_t size, struct error *e) HASTEN_CHECKED;

/* The same for who fills all of it at once: not zeroed, since that takes as long as reading a file does where
 * the C library hands out what others have freed. */
void *mem_room(size_t count, size_t size, struct error *e) HASTEN_CHECKED;

/* Resize a block from mem_array; the new part is zeroed. On failure the old block stays valid. */
void *mem_resize(void *block, size_t count, size_t size, struct error *e) HASTEN_CHECKED;
/* Of a block from mem_array or mem_resize. */
size_t mem_size(void *block);
void mem_free(void *block); /* NULL is fine */
char *mem_strdup(const char *s, struct error *e) HASTEN_CHECKED;
char *mem_printf(struct error *e, const char *format, ...) HASTEN_PRINTF(2, 3) HASTEN_CHECKED;

/* For libraries that take allocation functions and make many small blocks (cJSON, zstd): not zeroed, aligned
 * to 16, NULL without an error; counted, limited and able to fail like the others. Free with mem_small_free
 * only. */
void *mem_small(size_t bytes) HASTEN_CHECKED;
void mem_small_free(void *block); /* NULL is fine */

/* Bytes in blocks now, and the most there ever were. */
size_t mem_live(void);
size_t mem_peak(void);
size_t mem_live_blocks(void);

/* Refuse allocations that would take the total beyond this (0: no limit), with HASTEN_ENOMEM. */
void mem_limit(size_t bytes);

/* Fault points. kind: "alloc", "read", "write", "fsync", "rename", "close", "open", "thread".
 * fault_hit returns 1 when this call of that kind must fail (the caller acts as if it had), with errno set
 * for system calls. HASTEN_FAULT=KIND:K[+][:ERRNO-NAME], several separated by commas. Thread safe. */
int fault_hit(const char *kind);
/* Replace the setting by that text (tests); NULL: none. Counters restart. */
void fault_set(const char *setting);

struct arena {
    struct arena_block *last;
    size_t total;
};
void *arena_alloc(struct arena *a, size_t count, size_t size, struct error *e) HASTEN_CHECKED;
char *arena_strndup(struct arena *a, const char *s, size_t n, struct error *e) HASTEN_CHECKED;
char *arena_strdup(struct arena *a, const char *s, struct error *e) HASTEN_CHECKED;
char *arena_printf(struct arena *a, struct error *e, const char *format, ...)
    HASTEN_PRINTF(3, 4) HASTEN_CHECKED;
void arena_free(struct arena *a);

#endif

/* The frame of every tool: options, messages, exit codes.
 *
 *     static struct { const char *profile; double speedup; int64_t count; int correct; } o = {.count = 1};
 *     static const struct tool_option options[] = {
 *         {"profile", 0, "FILE", OPTION_TEXT, &o.profile, .help = "measured times (else measured here)"},
 *         {"speedup", 0, "X", OPTION_DOUBLE, &o.speedup, .min = 1, .max = 1000, .help = "..."},
 *         {"correct", 0, "on|off", OPTION_CHOICE, &o.correct, .choices = "off on", .help = "..."},
 *         {0}};
 *     static const struct tool tool = {"prune", "MODEL", "leave out ...", options, TOOL_OUTPUT | TOOL_COMPUTES, "example"};
 *
 *     int main(int argc, char **argv)
 *     {
 *         struct error e = {0};
 *         struct tool_run t;
 *         if (tool_start(&t, &tool, argc, argv, &e) == 0)
 *             run(&t, &e);
 *         return tool_finish(&t, &e);
 *     }
 *
 * From the one table come getopt_long's arrays, the checks of values, --help and --complete (for shells and for the test
 * that the man page says the same). An option that is given twice is a usage error unless it is repeatable. Long
 * options cannot be abbreviated. */
#ifndef HASTEN_TOOLS_TOOL_H
#define HASTEN_TOOLS_TOOL_H

#include "common/base/buf.h"
#include "common/base/error.h"
#include "common/base/team.h"
#include "kernels/cpu/cpu.h"
#include <cjson/cJSON.h>
#include <stdint.h>

#define HASTEN_VERSION "0.1.0"

enum option_type {
    OPTION_FLAG,   /* int *: set to 1 */
    OPTION_TEXT,   /* const char ** */
    OPTION_INT,    /* int64_t *, within min..max */
    OPTION_DOUBLE, /* double *, within min..max */
    OPTION_SIZE,   /* size_t * */
    OPTION_CHOICE, /* int *: index into choices, words apart by blanks */
    OPTION_LIST,   /* struct tool_list *: repeatable */
    OPTION_SEED,   /* uint64_t * */
};

enum { TOOL_LIST_MAX = 256 };

struct tool_list {
    const char *item[TOOL_LIST_MAX];
    int count;
};

struct tool_option {
    const char *name;
    char letter; /* 0: none */
    const char *argument;
    enum option_type type;
    void *value;
    double min, max;
    const char *choices;
    const char *help;
    int given; /* unused in tables */
};

enum {
    TOOL_OUTPUT = 1,     /* -o */
    TOOL_COMPUTES = 2,   /* --threads, --backend, --cpu-level, --memory */
    TOOL_SEED = 4,       /* --seed */
    TOOL_NO_OPERAND = 8,
    TOOL_TWO_OPERANDS = 16, /* exactly the operands the tool names */
    TOOL_FORCE = 32,
};

struct tool {
    const char *name, *operand, *summary;
    const struct tool_option *options; /* ends with a NULL name */
    int flags;
    const char *example;
};

/* What the common options say, and what goes with them. */
struct tool_run {
    const struct tool *tool;
    const char *program; /* as called */
    const char *operand[2];
    int operands;
    const char *output, *report;
    int64_t threads;
    int level, backend, quiet, verbose, json, force, progress;
    size_t memory;
    uint64_t seed;
    struct team *team;                 /* TOOL_COMPUTES: opened */
    const struct cpu_kernels *kernels;
    int done;                          /* --help and the like: nothing to do, exit 0 */
    double progress_start, progress_shown;
    int progress_drawn;
    unsigned char given[64];           /* of tool->options, by index: 1 when on the command line */
};

/* -1: usage error in e, or --help was answered (t->done). */
int tool_start(struct tool_run *t, const struct tool *tool, int argc, char **argv, struct error *e) HASTEN_CHECKED;
/* Prints the error, closes standard output, frees; gives the exit code. */
int tool_finish(struct tool_run *t, struct error *e);

/* Was that option of the tool's table on the command line? */
int tool_given(const struct tool_run *t, const char *option);

/* "program: text" on stderr unless --quiet; tool_note only with --verbose. */
void tool_warn(const struct tool_run *t, const char *format, ...) HASTEN_PRINTF(2, 3);
void tool_note(const struct tool_run *t, const char *format, ...) HASTEN_PRINTF(2, 3);

/* The operand that is the model: a path or "-". Stdin on a terminal without an operand is a usage error. */
const char *tool_input(const struct tool_run *t, struct error *e);

/* The report: text for people on stderr where data goes to stdout, else on stdout; JSON on stdout with --json and in
 * --report FILE. text NULL: nothing for people. */
int tool_report(const struct tool_run *t, const char *text, const cJSON *json, int data_on_stdout, struct error *e);

/* done of total; draws on a terminal at most five times a second, or writes JSON lines. */
void tool_progress(struct tool_run *t, const char *what, double done, double total);
void tool_progress_end(struct tool_run *t);

#endif

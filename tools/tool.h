/* The frame of every tool: options, messages, exit codes.
 *
 *     static struct { const char *profile; double speedup; int64_t count; int correct; } o = {.count = 1};
 *     static const struct tool_option options[] = {
 *         {"profile", 0, "FILE", OPTION_TEXT, &o.profile, .help = "measured times"},
 *         {"speedup", 0, "X", OPTION_DOUBLE, &o.speedup, .min = 1, .max = 1000, .help = "..."},
 *         {"correct", 0, "on|off", OPTION_CHOICE, &o.correct, .choices = "off on", .help = "..."},
 *         {0}};
 *     static const struct tool tool = {"prune", "MODEL", "Leave out ...", options,
 *                                      TOOL_DATA | TOOL_COMPUTES, "prune m.zst --speedup 1.2 -o small.zst"};
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
 * From the one table come getopt_long's arrays, the checks of values, --help and --complete (for shells and
 * for the test that the man page says the same). Values are taken whole or not at all, and never empty. An
 * option that is given twice is a usage error unless it is a flag or a list. Long options cannot be
 * abbreviated. A tool never calls setlocale, so numbers are read and written as in C everywhere. */
#ifndef HASTEN_TOOLS_TOOL_H
#define HASTEN_TOOLS_TOOL_H

#include "common/base/buf.h"
#include "common/base/error.h"
#include "common/run/backend.h"
#include <cjson/cJSON.h>
#include <stdint.h>

#define HASTEN_VERSION "0.1.0"

enum option_type {
    OPTION_FLAG,   /* int *: set to 1 */
    OPTION_TEXT,   /* const char ** */
    OPTION_OUTPUT, /* const char **: a file that will be written, looked at before the work */
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
    const char *help;  /* wrapped by --help; say the default */
    const char *group; /* heading in --help (NULL: "Options"); options of a group stand together */
};

/* TOOL_DATA: without -o the data goes to standard output in any case, so --json and a terminal there are
 * refused before any work. A tool that knows later calls tool_claim_stdout itself. */
enum {
    TOOL_OUTPUT = 1,   /* -o */
    TOOL_COMPUTES = 2, /* --threads, --backend, --cpu-level, --memory; opens the team */
    TOOL_NO_OPERAND = 8,
    TOOL_TWO_OPERANDS = 16,          /* up to two */
    TOOL_NEEDS_OPERAND = 64,         /* standard input does not do instead of the operand */
    TOOL_DATA = 128 | TOOL_OUTPUT,   /* see below */
    TOOL_RUNS = 256 | TOOL_COMPUTES, /* runs models: --backend counts */
    TOOL_FOLDER = 512 | TOOL_OUTPUT, /* -o may name a folder, which the tool makes */
};

struct tool {
    const char *name, *operand, *summary; /* an operand that ends in "...": up to TOOL_LIST_MAX of them */
    const struct tool_option *options; /* ends with a NULL name */
    int flags;
    const char *example;
};

/* What the common options say, and what goes with them. */
struct tool_run {
    const struct tool *tool;
    const char *program; /* as called */
    const char *operand[TOOL_LIST_MAX];
    int operands;
    const char *output, *report;
    int64_t threads;
    int level, backend_choice, quiet, verbose, json, force, progress;
    size_t memory;
    uint64_t seed;
    struct team *team;                 /* TOOL_COMPUTES: opened */
    const struct cpu_kernels *kernels; /* of the CPU */
    struct backend backend;            /* where models run */
    int done;                          /* --help and the like: nothing to do, exit 0 */
    unsigned char given[64];           /* of tool->options, by index: 1 when on the command line */
    const char *progress_what;         /* progress.c's own */
    double progress_start, progress_from, progress_shown;
    int progress_draws, progress_drawn;
};

/* -1: usage error in e, or --help was answered (t->done). */
int tool_start(struct tool_run *t, const struct tool *tool, int argc, char **argv,
               struct error *e) HASTEN_CHECKED;
/* Prints the error, closes standard output, frees; gives the exit code. */
int tool_finish(struct tool_run *t, struct error *e);

/* Was that option of the tool's table on the command line? */
int tool_given(const struct tool_run *t, const char *option);

/* "program: text" on stderr unless --quiet; tool_note only with --verbose. Lines behind the first are
 * indented; 4000 bytes at most. */
void tool_warn(const struct tool_run *t, const char *format, ...) HASTEN_PRINTF(2, 3);
void tool_note(const struct tool_run *t, const char *format, ...) HASTEN_PRINTF(2, 3);

/* The value of an environment variable, as a shard_lookup. */
const char *tool_environment(const char *name, void *context);

/* The operand that is the model: a path or "-". Stdin on a terminal without an operand is a usage error. */
const char *tool_input(const struct tool_run *t, struct error *e);

/* No -o, or one that means standard output. */
int tool_stdout_is_data(const struct tool_run *t);

/* Data will go to standard output: a usage error with --json and, when binary, on a terminal. Call it before
 * the work. */
int tool_claim_stdout(const struct tool_run *t, int binary, struct error *e) HASTEN_CHECKED;

/* The report: text for people on stderr where data goes to stdout, else on stdout (NULL: none); JSON on
 * stdout with --json, and in --report FILE. */
int tool_report(const struct tool_run *t, const char *text, const cJSON *json, int data_on_stdout,
                struct error *e);

/* done of total, as often as you like: draws on a terminal from the first second on, five times a second;
 * with --progress jsonl writes {"done","eta_s","total","what"} lines; SIGUSR1 asks for one line anyhow.
 * A new `what` starts a new phase; the string must stay. _end erases the line. */
void tool_progress(struct tool_run *t, const char *what, double done, double total);
void tool_progress_end(struct tool_run *t);
void progress_begin(struct tool_run *t); /* by tool_start */

#endif

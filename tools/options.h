/* Inside tools/: the table of all options of one program, own and common, and what is made of it. */
#ifndef HASTEN_TOOLS_OPTIONS_H
#define HASTEN_TOOLS_OPTIONS_H

#include "tools/tool.h"

enum { OPTIONS_MOST = 64 };

/* Values of --backend and --progress. */
enum { BACKEND_AUTO, BACKEND_CPU, BACKEND_CUDA };
enum { PROGRESS_AUTO, PROGRESS_NEVER, PROGRESS_JSONL };

struct option_table {
    struct tool_option option[OPTIONS_MOST];
    int given[OPTIONS_MOST]; /* times on the command line */
    int count, own;          /* the first `own` are the tool's, the others the common ones that it takes */
};

struct option_table option_table(struct tool_run *t);

/* Read the command line into the values. -1 without an error and with t->done set: --help or the like was
 * answered. */
int options_parse(struct tool_run *t, struct option_table *x, int argc, char **argv, struct error *e)
    HASTEN_CHECKED;

/* help.c: answers on standard output. */
void print_help(const struct tool_run *t, const struct option_table *x);
void print_version(const struct tool_run *t);
/* One option a line: "--NAME", argument name, type, and its range or choices, tabs between. */
void print_completion(const struct option_table *x);

#endif

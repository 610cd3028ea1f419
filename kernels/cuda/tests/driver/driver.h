/* Inside the recording driver: device.c has settings, the device and its kernels, driver.c memory, work and
 * graphs. */
#ifndef HASTEN_TESTS_RECORDING_DRIVER_H
#define HASTEN_TESTS_RECORDING_DRIVER_H

#include "kernels/cuda/launch.h"
#include "kernels/cuda/plugin/driver.h"

#define DECLARE(name, arguments) int name arguments;
CU_FUNCTIONS(DECLARE)

enum {
    GUARD = 256,
    BLOCKS = 1 << 16,
    LAW_BROKEN = 99,
    INVALID_VALUE = 1,
    NOT_READY = 600,
    CAPTURE_UNSUPPORTED = 900
};
enum { GUARD_BYTE = 0xA5, FRESH_BYTE = 0xFF };

struct block {
    unsigned char *data; /* inside its guards */
    size_t size;
};

struct kernel {
    const char *name;
    unsigned most_shared;
};

struct event {
    int recorded, done;
    double when;
};

enum kind { WORK_FILL, WORK_IN, WORK_OUT, WORK_LAUNCH, WORK_CALL, WORK_GRAPH, WORK_EVENT };
struct work {
    enum kind kind;
    unsigned char *to;
    const unsigned char *from;
    unsigned char *staged; /* WORK_IN: what was to be copied when it was asked for */
    size_t bytes;
    unsigned char value;
    unsigned number; /* of the call that launched it */
    double asked;
    struct kernel *kernel;
    unsigned grid[3], block[3], shared;
    void (*call)(const void *args); /* WORK_CALL: of a library */
    unsigned char args[CUDA_ARGS] __attribute__((aligned(16)));
    struct graph *graph;
    struct event *event;
};

struct list {
    struct work *work;
    size_t count, capacity;
};

struct graph {
    struct list list;
};

extern struct recording_driver {
    int set, lost, code, none, devices, capability, captured, relaxed;
    long fail, calls, launches, products, graphs, replays, replayed, allocations, late_allocations;
    size_t memory, used, peak, graph_most;
    unsigned seed;
    const char *log;
    char text[4096];
    struct block block[BLOCKS];
    int blocks;
    int live_streams, live_events, live_graphs, live_modules, retained;
    struct kernel kernel[256];
    struct list queue, capture;
    double clock; /* milliseconds */
    unsigned numbers;
    void (*watcher)(const char *name, unsigned number, double asked, double begin, double end);
} d;

/* A law was broken: says so and ends the process. */
void broken(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
void *need(void *p);
/* Counts a call; gives the error that it is to have. */
int enter(void);
void no_capture(const char *what);
void do_all(void); /* what is queued */

/* For the libraries' stand-ins: work that is queued or captured, what memory it may touch, and what a first
 * use does (which a capture allows only when it is relaxed). */
int driver_enter(void);
int driver_capability(void); /* 90: 9.0 */
void driver_call(void (*call)(const void *args), const void *args, size_t size);
void driver_range(const void *p, size_t bytes, const char *what);
void driver_first_use(const char *what);

#define ENTER()                 \
    do {                        \
        int failure_ = enter(); \
        if (failure_)           \
            return failure_;    \
    } while (0)

#endif

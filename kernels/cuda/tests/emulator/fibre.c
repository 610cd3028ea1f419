/* See fibre.h. Fibres are made by ucontext; between them a jump switches (swapcontext would ask the kernel
 * for the signal mask twice, a hundred times as long), by the few instructions that the x86-64 ABI asks for.
 */
#undef _FORTIFY_SOURCE
#include "kernels/cuda/tests/emulator/fibre.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#if defined __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#define ASAN_START(save, bottom, size) __sanitizer_start_switch_fiber(save, bottom, size)
#define ASAN_FINISH(save, bottom, size) __sanitizer_finish_switch_fiber(save, bottom, size)
#else
#define ASAN_START(save, bottom, size) ((void)(save), (void)(bottom), (void)(size))
#define ASAN_FINISH(save, bottom, size) ((void)(save), (void)(bottom), (void)(size))
#endif

enum { LINE = 192, COLOURS = 4096 }; /* bytes; LINE: multiples of 64 */

struct fibre {
    void *stack; /* a page without access below it */
    size_t size;
    void (*run)(void *);
    void *argument;
    int running;
    void *fake; /* of AddressSanitizer */
#if defined __x86_64__
    void *at;
#else
    ucontext_t context;
#endif
};

static struct fibre *current;
static const void *main_stack;
static size_t main_size;

#if defined __x86_64__

static void *main_at;

/* Saves what a called function must keep, and the place; goes on where `to` was saved. */
void fibre_switch(void **from, void *to);
__asm__(".text\n"
        ".globl fibre_switch\n"
        ".type fibre_switch, @function\n"
        "fibre_switch:\n"
        "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
        "  movq %rsp, (%rdi)\n"
        "  movq %rsi, %rsp\n"
        "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
        "  ret\n"
        ".size fibre_switch, .-fibre_switch\n");

static void go_in(struct fibre *f) { fibre_switch(&main_at, f->at); }
static void go_out(struct fibre *f) { fibre_switch(&f->at, main_at); }

#else

static ucontext_t main_context;

static void go_in(struct fibre *f) { swapcontext(&main_context, &f->context); }
static void go_out(struct fibre *f) { swapcontext(&f->context, &main_context); }

#endif

static void begin(void)
{
    ASAN_FINISH(NULL, &main_stack, &main_size);
    current->run(current->argument);
    current->running = 0;
    ASAN_START(NULL, main_stack, main_size);
    go_out(current);
    abort();
}

struct fibre *fibre_open(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct fibre *f = calloc(1, sizeof *f);
    char *p =
        mmap(NULL, bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!f || p == MAP_FAILED || mprotect(p, page, PROT_NONE) < 0) {
        perror("emulator: no memory for a stack");
        abort();
    }
    /* Stacks that begin at one place of a page would share a few lines of the first cache. */
    static unsigned opened;
    f->stack = p + page;
    f->size = bytes - opened++ * LINE % COLOURS;
    return f;
}

void fibre_close(struct fibre *f)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    munmap((char *)f->stack - page, f->size + page);
    free(f);
}

void fibre_start(struct fibre *f, void (*run)(void *), void *argument)
{
    f->run = run;
    f->argument = argument;
    f->running = 1;
#if defined __x86_64__
    void **top = (void **)(void *)((char *)f->stack + f->size);
    *--top = NULL; /* where begin() would return to, with the stack as after a call */
    *--top = (void *)(uintptr_t)begin;
    f->at = top - 6;
#else
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->stack;
    f->context.uc_stack.ss_size = f->size;
    makecontext(&f->context, begin, 0);
#endif
}

int fibre_enter(struct fibre *f)
{
    void *fake = NULL;
    current = f;
    ASAN_START(&fake, f->stack, f->size);
    go_in(f);
    ASAN_FINISH(fake, NULL, NULL);
    return f->running;
}

void fibre_leave(void)
{
    struct fibre *f = current;
    ASAN_START(&f->fake, main_stack, main_size);
    go_out(f);
    ASAN_FINISH(f->fake, &main_stack, &main_size);
}

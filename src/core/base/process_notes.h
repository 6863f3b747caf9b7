/* All state of the process that has no other owner. The map is at the top of runtime.c. */
#ifndef OWNGIL_RUNTIME_H
#define OWNGIL_RUNTIME_H

#include "base/compat.h"
#include "base/atfork.h"
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* A number that the process keeps under a name, for Python code of all its interpreters. */
typedef struct owngil_note {
    struct owngil_note *next;
    uint64_t value;
    char name[];
} owngil_note;

/* 0: there is none. */
uint64_t owngil_runtime_get_note(const char *name);

/* Returns false when there is no memory. */
bool owngil_runtime_set_note(const char *name, uint64_t value);

/* Takes all of them away. The caller frees each. */
owngil_note *owngil_runtime_take_notes(void);

/* A number that no earlier call has returned, from 1 up. */
uint64_t owngil_runtime_next_number(void);

/* Bytes of stack for a worker's thread: as many as the main thread may use. */
size_t owngil_runtime_stack_size(void);

/* Registers the thread of a worker that cannot end, for owngil_runtime_exit() to join. */
void owngil_runtime_keep(pthread_t thread);

/* Blocks a kept thread until owngil_runtime_exit() is called. Call without a GIL. */
void owngil_runtime_await_exit(void);

/* The process is about to exit: lets the kept threads go on, and joins them. Call without a GIL. */
void owngil_runtime_exit(void);

/* See fork.h: the child keeps no thread. */
void owngil_runtime_fork(owngil_fork_step step);

#endif

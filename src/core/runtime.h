/* All state of the process that has no other owner. The map is at the top of runtime.c. */
#ifndef OWNGIL_RUNTIME_H
#define OWNGIL_RUNTIME_H

#include "compat.h"
#include <pthread.h>
#include <stdint.h>

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

#endif

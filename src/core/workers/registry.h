/* The registry: the list of the workers that have an interpreter, for threads that are not the workers' own. */
#pragma once

#include "workers/worker.h"

void owngil_registry_add(owngil_worker *worker);
void owngil_registry_remove(owngil_worker *worker);

/* Returns the worker whose interpreter the calling thread's thread state belongs to, also while that interpreter is
 * being made. NULL: it is the main interpreter, one of another library, or there is no thread state. */
owngil_worker *owngil_registry_of_thread(void);

/* Returns the owner number of that worker; 0: none. */
uint64_t owngil_registry_owner_of_thread(void);

/* Calls `function` with each worker. It must not lock anything but the recorder's lock. Needs no GIL. */
void owngil_registry_each(void (*function)(owngil_worker *));

size_t owngil_registry_count(void);

/* The child of a fork has no workers. */
void owngil_registry_atfork(owngil_atfork_step step);

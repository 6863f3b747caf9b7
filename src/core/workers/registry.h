/* The workers that have an interpreter, for threads that are not the workers' own. */
#pragma once

#include "workers/worker.h"

void owngil_registry_add(owngil_worker *worker);
void owngil_registry_remove(owngil_worker *worker);

/* The worker whose interpreter the calling thread is in; NULL: the main one, or none. And its owner number; 0: none. */
owngil_worker *owngil_registry_of_thread(void);
uint64_t owngil_registry_owner_of_thread(void);

/* Calls `function` with each worker. It must not lock anything but the recorder's lock. Needs no GIL. */
void owngil_registry_each(void (*function)(owngil_worker *));

size_t owngil_registry_count(void);

/* The child has no workers. */
void owngil_registry_atfork(owngil_atfork_step step);

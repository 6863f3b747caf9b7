/* Workers as wrappers. */
#pragma once

#include "bindings/wrapper.h"
#include "workers/worker.h"

/* Returns the worker whose own thread calls, or NULL with RuntimeError set. Needs the GIL. */
owngil_worker *owngil_worker_require_current(void);

/* The id of the task that the worker is running; 0: none, also while it starts. Needs no GIL. */
uint64_t owngil_worker_running_task(owngil_worker *worker);

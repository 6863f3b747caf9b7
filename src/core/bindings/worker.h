/* The wrapper of a worker, and the worker of the calling thread. */
#pragma once

#include "bindings/wrapper.h"
#include "workers/worker.h"

/* Returns the worker whose own thread this is, or NULL with RuntimeError set. Needs the GIL. */
owngil_worker *owngil_worker_require_current(void);

/* Returns the id of the task that the worker is running; 0: none, also before its first task. Needs no GIL. */
uint64_t owngil_worker_running_task(owngil_worker *worker);

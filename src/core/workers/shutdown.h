/* The end of a worker's interpreter, which other threads may delay, some of them until the process exits. */
#pragma once

#include "workers/worker.h"

/* Prepares Py_EndInterpreter(), as the last atexit function of a worker's interpreter. Returns when the interpreter's
 * other threads are gone, or the process exits. Needs the GIL, on the worker's own thread. */
void owngil_shutdown_before_end(owngil_worker *self);

/* Lets the workers that reported KEPT go on, and joins their threads, because the process is about to exit. Call
 * without a GIL. */
void owngil_shutdown_exit(void);

/* The child of a fork has no such workers. */
void owngil_shutdown_atfork(owngil_atfork_step step);

/* The end of a worker's interpreter, as far as other threads are in its way; and workers that cannot end before the process. */
#pragma once

#include "workers/worker.h"

/* The last atexit function of a worker's interpreter: what must be done before Py_EndInterpreter goes on. Returns when the
 * interpreter's other threads are gone, or the process exits. Needs the GIL, on the worker's own thread. */
void owngil_shutdown_before_end(owngil_worker *self);

/* The process is about to exit: lets the workers that reported KEPT go on, and joins their threads. Call without a GIL. */
void owngil_shutdown_exit(void);

/* The child has no such workers. */
void owngil_shutdown_atfork(owngil_atfork_step step);

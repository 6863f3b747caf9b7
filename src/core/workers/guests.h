/* Guest threads: threads from outside that enter a worker's interpreter, by the PyGILState_Ensure() of private copies.
 *
 * CPython's functions attach a thread without a thread state to the main interpreter; these attach it to the worker's.
 * In a thread that belongs to the worker's interpreter they do what CPython's do. When the atexit functions of the
 * interpreter have run, PyGILState_Ensure() blocks a guest thread for ever: CPython does the same at its own end. While
 * a thread unloads private copies, their destructors find no interpreter, and do not wait for one.
 */
#pragma once

#include "workers/worker.h"

/* The owner that they take is an owngil_worker. */
extern const owngil_guest_functions owngil_guests_functions;

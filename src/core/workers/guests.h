/* Guests: PyGILState_Ensure(), _Release() and _Check() as a worker's private copies call them.
 *
 * CPython's own attach a thread that has no thread state yet to the main interpreter. These attach it to the worker's. A
 * thread of the worker's interpreter gets CPython's behaviour. When the interpreter has begun to end, a thread from outside
 * that wants to enter never returns: CPython does the same at its own end. While a thread unloads copies, their destructors
 * find no interpreter, and do not wait for one.
 */
#pragma once

#include "workers/worker.h"

/* The owner that they take is an owngil_worker. */
extern const owngil_guest_functions owngil_guests_functions;

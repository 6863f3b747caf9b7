/* Guest threads: PyGILState_Ensure(), _Release() and _Check() for a worker's private copies.
 *
 * CPython's functions attach a thread without a thread state to the main interpreter; these attach it to the worker's.
 * In a thread that belongs to the worker's interpreter they do what CPython's do. Once the interpreter has begun to
 * end, a guest thread that wants to enter never returns: CPython does the same at its own end. While a thread unloads
 * private copies, their destructors find no interpreter, and do not wait for one.
 */
#pragma once

#include "workers/worker.h"

/* The owner that they take is an owngil_worker. */
extern const owngil_guest_functions owngil_guests_functions;

/* Reading arguments. All needs the GIL. */
#pragma once

#include "base/compat.h"
#include "sync/deadline.h"

/* Puts the arguments of a METH_FASTCALL | METH_KEYWORDS call into `values`, one for each of the `names` (which NULL ends);
 * those that are not given stay as they are. Borrowed references. Returns 0, or -1 with TypeError set.
 *
 * By hand, because CPython's fast parser keeps a C static for each function, which interpreters would share. */
int owngil_args_parse(const char *function, const char *const *names, PyObject **values, PyObject *const *args,
                      Py_ssize_t count, PyObject *kwnames);

/* Reads a timeout: NULL or None (never), or a number of seconds. Returns 0, or -1 with ValueError or TypeError set. A negative
 * number is an error; or, as threading has it for events and semaphores, a moment that has passed. */
int owngil_args_timeout(PyObject *timeout, owngil_deadline *deadline);
int owngil_args_timeout_or_passed(PyObject *timeout, owngil_deadline *deadline);

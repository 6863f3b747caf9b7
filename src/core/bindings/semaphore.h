/* What the types Lock and Semaphore share. All needs the GIL. */
#pragma once

#include "bindings/wrapper.h"

/* Returns a new wrapper of a new semaphore, or NULL with MemoryError set. */
PyObject *owngil_semaphore_make(PyTypeObject *type, owngil_kind kind, int64_t value, int64_t limit);

/* acquire(blocking=True, timeout=None) of a semaphore's wrapper; `forever` says that timeout=-1 is None, as a lock has it.
 * Lets go of the GIL only to wait. Returns a bool, or NULL with an exception set; then no permit was acquired. */
PyObject *owngil_semaphore_acquire_method(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames,
                                          bool forever);

/* __enter__: waits for a permit as long as it takes. */
PyObject *owngil_semaphore_enter(PyObject *self, PyObject *unused);

/* Methods that Lock, Semaphore and BoundedSemaphore share. All need the GIL. */
#pragma once

#include "bindings/wrapper.h"

/* acquire(blocking=True, timeout=None): timeout=-1 is None for a lock. Releases the GIL only to wait. Returns a bool,
 * or NULL with an exception set: then no permit was acquired. */
PyObject *owngil_semaphore_acquire_method(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames);

/* Returns None, or NULL with the exception set that threading raises when there would be too many permits. */
PyObject *owngil_semaphore_release_or_raise(PyObject *self, int64_t permits);

/* __enter__ waits for a permit as long as it takes; __exit__ releases one. */
PyObject *owngil_semaphore_enter(PyObject *self, PyObject *unused);
PyObject *owngil_semaphore_exit(PyObject *self, PyObject *const *args, Py_ssize_t count);

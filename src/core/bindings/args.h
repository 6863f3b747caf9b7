/* What the types of lock_type.c, semaphore_type.c, sync_type.c and counter_type.c share. All needs the GIL. */
#ifndef OWNGIL_SYNC_TYPE_H
#define OWNGIL_SYNC_TYPE_H

#include "bindings/state.h"
#include "sync/waiter.h"

/* Puts the arguments of a METH_FASTCALL | METH_KEYWORDS call into `values`, one for each of the `names` (which NULL ends);
 * what is not given stays as it is. Borrowed references. Returns 0, or -1 with TypeError set.
 *
 * By hand, because CPython's fast parser keeps a C static for each function, which interpreters would share. */
int owngil_sync_arguments(const char *function, const char *const *names, PyObject **values, PyObject *const *args,
                          Py_ssize_t count, PyObject *kwnames);

/* As threading has it: None is never, and what is negative has passed. Returns 0, or -1 with ValueError or TypeError. */
int owngil_sync_deadline(PyObject *timeout, owngil_deadline *deadline);

/* Returns a new wrapper of a new semaphore, or NULL with MemoryError set. */
PyObject *owngil_semaphore_make(PyTypeObject *type, owngil_kind kind, int64_t value, int64_t limit);

/* acquire(blocking=True, timeout=None) of a semaphore's wrapper; `forever` says that timeout=-1 is None, as a lock has it.
 * Lets go of the GIL only to wait. Returns a bool, or NULL with an exception set; then no permit was got. */
PyObject *owngil_semaphore_call_acquire(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames,
                                        bool forever);

/* __enter__ likewise. */
PyObject *owngil_semaphore_enter(PyObject *self, PyObject *unused);

#endif

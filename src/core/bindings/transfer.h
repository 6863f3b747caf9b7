/* Methods of Queue that return a Transfer: a message on its way that can be undone, see messaging/transfer.h. They need
 * the GIL; receive() releases it to wait. */
#pragma once

#include "base/compat.h"

/* receive(timeout=None, /): wait for a message, and return a Transfer that has it. */
PyObject *owngil_queue_receive(PyObject *self, PyObject *const *args, Py_ssize_t count);

/* begin_receive(wakeup, key, /): return a Transfer that has a message or will have one. If it must wait for one,
 * `wakeup` gets `key` when the message is there. */
PyObject *owngil_queue_begin_receive(PyObject *self, PyObject *const *args, Py_ssize_t count);

/* begin_send(wakeup, key, parts, /): return a Transfer that sends a message as soon as there is room; see
 * begin_receive(). */
PyObject *owngil_queue_begin_send(PyObject *self, PyObject *const *args, Py_ssize_t count);

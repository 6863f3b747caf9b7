/* Methods of Queue that return a Transfer. They need the GIL, and the first lets go of it. */
#pragma once

#include "base/compat.h"

/* receive(timeout=None, /): wait for a message, which the Transfer has then. */
PyObject *owngil_queue_receive(PyObject *self, PyObject *const *args, Py_ssize_t count);

/* begin_receive(wakeup, key, /): the Transfer has a message or will have one; then `wakeup` tells `key` that it is done. */
PyObject *owngil_queue_begin_receive(PyObject *self, PyObject *const *args, Py_ssize_t count);

/* begin_send(wakeup, key, parts, /): send a message as soon as there is room; see begin_receive. */
PyObject *owngil_queue_begin_send(PyObject *self, PyObject *const *args, Py_ssize_t count);

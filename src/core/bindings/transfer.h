/* Methods of the Queue `self` that return a Transfer. Need the GIL, and the first lets go of it. */
#ifndef OWNGIL_BINDINGS_TRANSFER_H
#define OWNGIL_BINDINGS_TRANSFER_H

#include "base/compat.h"

PyObject *owngil_queue_receive(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *owngil_queue_begin_receive(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *owngil_queue_begin_send(PyObject *self, PyObject *const *args, Py_ssize_t count);

#endif

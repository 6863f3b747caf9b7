#include "bindings/raise.h"

PyObject *
owngil_raise_status(owngil_status code, PyObject *closed)
{
    switch (code) {
    case OWNGIL_CLOSED:
        return PyErr_Format(closed, "the queue is closed");
    case OWNGIL_TIMEOUT:
        return PyErr_Format(PyExc_TimeoutError, "timed out");
    case OWNGIL_NO_MEMORY:
        return PyErr_NoMemory();
    case OWNGIL_INHERITED:
        return PyErr_Format(
            PyExc_RuntimeError,
            "it was made before this process was forked, and leads to the parent's workers: make a new one here");
    case OWNGIL_OK:
    case OWNGIL_BROKEN: /* the barrier raises this itself */
    case OWNGIL_INTERRUPTED:
        break;
    }
    return PyErr_Format(PyExc_SystemError, "code %d is no error", (int)code);
}

PyObject *
owngil_raise_errno(int error)
{
    if (error != 0) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_RETURN_NONE;
}

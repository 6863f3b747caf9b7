#include "bindings/raise.h"

PyObject *
owngil_raise_status(owngil_status code, PyObject *closed)
{
    switch (code) {
    case OWNGIL_CLOSED:
        PyErr_SetString(closed, "the queue is closed");
        break;
    case OWNGIL_TIMEOUT:
        PyErr_SetString(PyExc_TimeoutError, "timed out");
        break;
    case OWNGIL_NO_MEMORY:
        PyErr_NoMemory();
        break;
    case OWNGIL_INHERITED:
        PyErr_SetString(
            PyExc_RuntimeError,
            "it was made before this process was forked, and leads to the parent's workers: make a new one here");
        break;
    case OWNGIL_OK:
    case OWNGIL_BROKEN: /* a barrier's own business */
    case OWNGIL_INTERRUPTED:
        PyErr_Format(PyExc_SystemError, "code %d is no error", (int)code);
        break;
    }
    return NULL;
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

#include "bindings/args.h"

#include <math.h>

int
owngil_args_check_count(const char *function, Py_ssize_t count, Py_ssize_t least, Py_ssize_t most)
{
    if (count >= least && count <= most) {
        return 0;
    }
    if (least == most) {
        PyErr_Format(PyExc_TypeError, "%s() takes exactly %zd arguments (%zd given)", function, most, count);
    }
    else {
        PyErr_Format(PyExc_TypeError, "%s() takes %zd to %zd arguments (%zd given)", function, least, most, count);
    }
    return -1;
}

int
owngil_args_parse(const char *function, const char *const *names, PyObject **values, PyObject *const *args,
                  Py_ssize_t count, PyObject *kwnames)
{
    Py_ssize_t most = 0;
    while (names[most] != NULL) {
        most++;
    }
    if (count > most) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %zd arguments (%zd given)", function, most, count);
        return -1;
    }
    for (Py_ssize_t k = 0; k < count; k++) {
        values[k] = args[k];
    }
    Py_ssize_t keywords = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;
    for (Py_ssize_t k = 0; k < keywords; k++) {
        PyObject *keyword = PyTuple_GET_ITEM(kwnames, k);
        Py_ssize_t at = 0;
        while (at < most && PyUnicode_CompareWithASCIIString(keyword, names[at]) != 0) {
            at++;
        }
        if (at == most) {
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", function, keyword);
            return -1;
        }
        if (at < count) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'", function, keyword);
            return -1;
        }
        values[at] = args[count + k];
    }
    return 0;
}

int
owngil_args_bytes(PyObject *object, void *text)
{
    return PyBytes_AsStringAndSize(object, text, NULL) == 0;
}

int
owngil_args_timeout(PyObject *timeout, bool may_be_negative, owngil_deadline *deadline)
{
    *deadline = OWNGIL_DEADLINE_NEVER;
    if (timeout == NULL || timeout == Py_None) {
        return 0;
    }
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (isnan(seconds) || (seconds < 0.0 && !may_be_negative)) {
        PyErr_Format(PyExc_ValueError, "timeout must be None or a number of seconds >= 0, not %R", timeout);
        return -1;
    }
    *deadline = seconds <= 0.0 ? OWNGIL_DEADLINE_NOW : owngil_clock_after(seconds);
    return 0;
}

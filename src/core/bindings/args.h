/* Reading arguments. All functions need the GIL. */
#pragma once

#include "base/compat.h"
#include "sync/deadline.h"

/* Checks the number of arguments of a METH_FASTCALL function. Returns 0, or -1 with TypeError set. */
int owngil_args_check_count(const char *function, Py_ssize_t count, Py_ssize_t least, Py_ssize_t most);

/* Puts the arguments of a METH_FASTCALL | METH_KEYWORDS call into `values`, one for each of the `names`, which end in
 * NULL. The value of an argument that is not given does not change. The references are borrowed. Returns 0, or -1 with
 * TypeError set.
 *
 * CPython's fast parser is no choice here: it keeps a C static for each function, which interpreters would share. */
int owngil_args_parse(const char *function, const char *const *names, PyObject **values, PyObject *const *args,
                      Py_ssize_t count, PyObject *kwnames);

/* Reads a timeout: NULL or None (never), or a number of seconds. With `may_be_negative`, a negative number is a moment
 * that has passed, as threading's events and semaphores have it; else it is an error. Returns 0, or -1 with ValueError
 * or TypeError set. */
int owngil_args_timeout(PyObject *timeout, bool may_be_negative, owngil_deadline *deadline);

/* Converts bytes without a zero byte to a `const char *`, borrowed: for "O&" of PyArg_ParseTuple(). Its "y" takes any
 * buffer, and reads on behind one that does not end in a zero byte. */
int owngil_args_bytes(PyObject *object, void *text);

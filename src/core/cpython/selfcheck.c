#include "cpython/selfcheck.h"

#include "cpython/immortal_refcounts.h"
#include "cpython/interpreter_list.h"
#include "cpython/keyword_parsers.h"
#include "cpython/type_versions.h"
#include "platform/thread.h"

#include <stdlib.h>
#include <string.h>

#ifndef OWNGIL_NEWEST_MINOR
#  error "compile with -DOWNGIL_NEWEST_MINOR=..., which is in meson.build"
#endif

enum { MOST = 3 };
static const char *missing[MOST]; /* set before there is a worker */
static size_t missing_count;

void
owngil_selfcheck_do_without(const char *sentence)
{
    if (missing_count < MOST) {
        missing[missing_count++] = sentence;
    }
}

const char *
owngil_selfcheck_missing(size_t k)
{
    return k < missing_count ? missing[k] : NULL;
}

/* Sets ImportError unless owngil was built for this version of Python, and is tested with it. Returns 0 or -1. */
static int
check_version(void)
{
    int major = (int)(Py_Version >> 24 & 0xFF), minor = (int)(Py_Version >> 16 & 0xFF);
    const char *untested = getenv("OWNGIL_UNTESTED_PYTHON");
    if ((major != PY_MAJOR_VERSION || minor > OWNGIL_NEWEST_MINOR)
        && (untested == NULL || strcmp(untested, "1") != 0)) {
        PyErr_Format(
            PyExc_ImportError,
            "owngil is tested up to Python %d.%d, and this is Python %d.%d: use an older Python or a newer owngil, "
            "or set OWNGIL_UNTESTED_PYTHON=1 to try it all the same",
            PY_MAJOR_VERSION, OWNGIL_NEWEST_MINOR, major, minor);
        return -1;
    }
    if (major != PY_MAJOR_VERSION || minor != PY_MINOR_VERSION) {
        PyErr_Format(
            PyExc_ImportError,
            "owngil was built for Python %d.%d, and this is Python %d.%d: install owngil again with this Python",
            PY_MAJOR_VERSION, PY_MINOR_VERSION, major, minor);
        return -1;
    }
    return 0;
}

/* Whether the current thread's state is the one that CPython itself uses, which names the interpreter. */
static bool
check_current_thread(void)
{
    PyThreadState *current = PyThreadState_GetUnchecked();
    return current != NULL && PyThreadState_GetInterpreter(current) == PyInterpreterState_Get();
}

/* Sets ImportError that this Python cannot be used, for that reason. Returns -1. */
static int
refuse(const char *reason)
{
    PyErr_Format(
        PyExc_ImportError,
        "owngil cannot work with this build of Python %d.%d.%d, because %s: use another build of Python or a newer "
        "owngil",
        (int)(Py_Version >> 24 & 0xFF), (int)(Py_Version >> 16 & 0xFF), (int)(Py_Version >> 8 & 0xFF), reason);
    return -1;
}

/* Returns the class of the module's spec: importlib's ModuleSpec, which each interpreter has for itself. A new
 * reference, or NULL with an exception. */
static PyObject *
class_of_spec(PyObject *module)
{
    PyObject *spec = PyObject_GetAttrString(module, "__spec__");
    PyObject *class = spec != NULL ? PyObject_Type(spec) : NULL;
    Py_XDECREF(spec);
    return class;
}

int
owngil_selfcheck_run(PyObject *module)
{
    missing_count = 0;
    if (check_version() < 0) {
        return -1;
    }
    if (!check_current_thread()) {
        return refuse("PyThreadState_GetUnchecked() does not return the current thread's state");
    }
    if (!owngil_immortal_refcounts_check()) {
        return refuse("it counts references to Ellipsis, which interpreters share without a lock");
    }
    if (!owngil_interpreter_list_find()) {
        return refuse("its list of interpreters is not where owngil looks for it");
    }
    if (owngil_thread_id_of(pthread_self()) != owngil_thread_id()) {
        return refuse("the number of a thread's clock does not contain the thread's number on this system");
    }
    PyObject *class = class_of_spec(module);
    if (class == NULL) {
        return -1;
    }
    bool versions = owngil_type_versions_check((PyTypeObject *)class);
    Py_DECREF(class);
    if (!versions) {
        if (PY_VERSION_HEX < 0x030E0000) {
            return refuse("the flag of types that interpreters share is another bit");
        }
        owngil_selfcheck_do_without(
            "After some thousand workers, attributes of extension types are not cached: the flag of types that "
            "interpreters share is another bit.");
    }
    if (!owngil_keyword_parsers_check()) {
        if (Py_Version < 0x030C0400) {
            return refuse("its list of keyword parsers is not as expected");
        }
        owngil_selfcheck_do_without(
            "Private copies of extension modules that parse keywords stay when their worker ends: CPython's list "
            "of keyword parsers is not as expected.");
    }
    return 0;
}

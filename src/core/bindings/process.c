/* What concerns the whole process: its end, its forks, what all interpreters share, and its notes. */
#include "bindings/state.h"

#include "base/process_notes.h"
#include "cpython/immortal_refcounts.h"
#include "cpython/keyword_parsers.h"
#include "memory/lease.h"
#include "workers/registry.h"
#include "workers/shutdown.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* after_fork(): mend what the workers, which will never end in this forked child, would have mended at their end. */
static PyObject *
after_fork(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    owngil_keyword_parsers_release();
    Py_RETURN_NONE;
}

/* end_kept_workers(): end the workers that reported KEPT, and wait for them; for the main interpreter's exit. */
static PyObject *
end_kept_workers(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    Py_BEGIN_ALLOW_THREADS
    owngil_shutdown_exit();
    owngil_lease_end();
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

/* die_of_sigint(): end the process as CPython does after a KeyboardInterrupt that nobody caught, at once. */
static PyObject *
die_of_sigint(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, SIGINT);
    signal(SIGINT, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, &only, NULL);
    kill(getpid(), SIGINT);
    /* The end comes with the return of kill(), or a moment later under a debugger; but never to process 1 of a container, which
     * ignores what it has no handler for. Nothing else can be done then, as other threads still use the interpreter. */
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    _exit(128 + SIGINT);
}

/* in_worker(): whether this thread is a worker's own. */
static PyObject *
in_worker(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong(owngil_worker_current() != NULL);
}

/* in_main_interpreter(): whether this is the process's first interpreter. */
static PyObject *
in_main_interpreter(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong(PyInterpreterState_Get() == PyInterpreterState_Main());
}

/* protect_immortals(): protect the objects that all interpreters share from extension modules with an old stable ABI;
 * see immortals.h. */
static PyObject *
protect_immortals(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    if (owngil_immortal_refcounts_protect() < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* count_workers(): how many workers have an interpreter at this moment. */
static PyObject *
count_workers(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    return PyLong_FromSize_t(owngil_registry_count());
}

/* get_note(name): the number that the process keeps under the name (bytes); 0 for none. */
static PyObject *
get_note(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *name;
    if (!PyArg_ParseTuple(args, "y:get_note", &name)) {
        return NULL;
    }
    return PyLong_FromUnsignedLongLong(owngil_process_notes_get(name));
}

/* set_note(name, value): let the process keep a number under the name (bytes), for all its interpreters. */
static PyObject *
set_note(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *name;
    unsigned long long value;
    if (!PyArg_ParseTuple(args, "yK:set_note", &name, &value)) {
        return NULL;
    }
    if (!owngil_process_notes_set(name, value)) {
        return PyErr_NoMemory();
    }
    Py_RETURN_NONE;
}

/* take_notes(): return all notes as a dict of bytes and ints; the process forgets them. */
static PyObject *
take_notes(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    PyObject *dict = PyDict_New();
    owngil_process_note *list = dict != NULL ? owngil_process_notes_take() : NULL;
    while (list != NULL) {
        owngil_process_note *note = list;
        list = note->next;
        PyObject *name = dict != NULL ? PyBytes_FromString(note->name) : NULL;
        PyObject *value = name != NULL ? PyLong_FromUnsignedLongLong(note->value) : NULL;
        if (dict != NULL && (value == NULL || PyDict_SetItem(dict, name, value) < 0)) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(name);
        Py_XDECREF(value);
        free(note);
    }
    return dict;
}

OWNGIL_DEFINE_FUNCTIONS(process, {"protect_immortals", protect_immortals, METH_NOARGS, NULL},
                        {"count_workers", count_workers, METH_NOARGS, NULL}, {"get_note", get_note, METH_VARARGS, NULL},
                        {"set_note", set_note, METH_VARARGS, NULL}, {"take_notes", take_notes, METH_NOARGS, NULL},
                        {"after_fork", after_fork, METH_NOARGS, NULL},
                        {"end_kept_workers", end_kept_workers, METH_NOARGS, NULL},
                        {"die_of_sigint", die_of_sigint, METH_NOARGS, NULL},
                        {"in_worker", in_worker, METH_NOARGS, NULL},
                        {"in_main_interpreter", in_main_interpreter, METH_NOARGS, NULL})

/* Functions for the whole process: its end, its forks, objects that all interpreters share, and process notes. */
#include "bindings/args.h"
#include "bindings/state.h"

#include "base/process_notes.h"
#include "cpython/immortal_refcounts.h"
#include "cpython/keyword_parsers.h"
#include "cpython/selfcheck.h"
#include "memory/lease.h"
#include "workers/registry.h"
#include "workers/shutdown.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* after_fork(): detach the keyword tuples from workers in a forked child, where no worker's end will do it. */
static PyObject *
after_fork(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    owngil_keyword_parsers_release();
    Py_RETURN_NONE;
}

/* end_kept_workers(): at the main interpreter's exit, let the workers that reported KEPT end, and wait for them. */
static PyObject *
end_kept_workers(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    Py_BEGIN_ALLOW_THREADS
    owngil_shutdown_exit();
    owngil_lease_end();
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

/* die_of_sigint(): end the process at once, as CPython does after a KeyboardInterrupt that no code caught. */
static PyObject *
die_of_sigint(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, SIGINT);
    signal(SIGINT, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, &only, NULL);
    kill(getpid(), SIGINT);
    /* The process ends as kill() returns; under a debugger, a moment later. But process 1 of a container ignores
     * signals without a handler. Only _exit() is left then, as other threads still use the interpreter. */
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    _exit(128 + SIGINT);
}

/* in_worker(): return whether this thread is a worker's own, and runs the worker's interpreter: code in a worker can
 * run others, by the standard library's module for interpreters. */
static PyObject *
in_worker(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    const owngil_worker *worker = owngil_worker_current();
    return PyBool_FromLong(worker != NULL && owngil_registry_of_thread() == worker);
}

/* in_main_interpreter(): return whether this is the main interpreter. */
static PyObject *
in_main_interpreter(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong(PyInterpreterState_Get() == PyInterpreterState_Main());
}

/* missing_parts(): return sentences, a tuple of str, on what owngil does without in this process; see selfcheck.h. */
static PyObject *
missing_parts(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    Py_ssize_t count = 0;
    while (owngil_selfcheck_missing((size_t)count) != NULL) {
        count++;
    }
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t k = 0; tuple != NULL && k < count; k++) {
        PyObject *item = PyUnicode_FromString(owngil_selfcheck_missing((size_t)k));
        PyTuple_SET_ITEM(tuple, k, item);
        if (item == NULL) {
            Py_CLEAR(tuple);
        }
    }
    return tuple;
}

/* protect_immortals(): protect the objects that all interpreters share from extension modules with an old stable ABI;
 * see immortal_refcounts.h. */
static PyObject *
protect_immortals(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    return owngil_immortal_refcounts_protect() < 0 ? NULL : Py_NewRef(Py_None);
}

/* count_workers(): return the number of workers that have an interpreter at this moment. */
static PyObject *
count_workers(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    return PyLong_FromSize_t(owngil_registry_count());
}

/* get_process_note(name): return the number that the process keeps under `name` (bytes); 0 for none. */
static PyObject *
get_process_note(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *name;
    if (!PyArg_ParseTuple(args, "O&:get_process_note", owngil_args_bytes, &name)) {
        return NULL;
    }
    return PyLong_FromUnsignedLongLong(owngil_process_notes_get(name));
}

/* set_process_note(name, value): keep a number under `name` (bytes), for all interpreters of the process. */
static PyObject *
set_process_note(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *name;
    unsigned long long value;
    if (!PyArg_ParseTuple(args, "O&K:set_process_note", owngil_args_bytes, &name, &value)) {
        return NULL;
    }
    return owngil_process_notes_set(name, value) ? Py_NewRef(Py_None) : PyErr_NoMemory();
}

/* take_process_notes(): return all process notes as a dict of bytes and ints, and forget them. */
static PyObject *
take_process_notes(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    PyObject *dict = PyDict_New();
    owngil_process_note *note = dict != NULL ? owngil_process_notes_take() : NULL;
    while (note != NULL) {
        owngil_process_note *next = note->next;
        PyObject *name = dict != NULL ? PyBytes_FromString(note->name) : NULL;
        PyObject *value = name != NULL ? PyLong_FromUnsignedLongLong(note->value) : NULL;
        if (dict != NULL && (value == NULL || PyDict_SetItem(dict, name, value) < 0)) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(name);
        Py_XDECREF(value);
        free(note);
        note = next;
    }
    return dict;
}

static PyMethodDef functions[] = {
    {"missing_parts", missing_parts, METH_NOARGS},
    {"protect_immortals", protect_immortals, METH_NOARGS},
    {"count_workers", count_workers, METH_NOARGS},
    {"get_process_note", get_process_note, METH_VARARGS},
    {"set_process_note", set_process_note, METH_VARARGS},
    {"take_process_notes", take_process_notes, METH_NOARGS},
    {"after_fork", after_fork, METH_NOARGS},
    {"end_kept_workers", end_kept_workers, METH_NOARGS},
    {"die_of_sigint", die_of_sigint, METH_NOARGS},
    {"in_worker", in_worker, METH_NOARGS},
    {"in_main_interpreter", in_main_interpreter, METH_NOARGS},
    {NULL},
};

OWNGIL_DEFINE_FUNCTIONS(process, functions)

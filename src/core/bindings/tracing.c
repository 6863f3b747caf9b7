/* Counting and recording what workers do. */
#include "bindings/worker.h"

#include "cpython/type_versions.h"
#include "tracing/recorder.h"
#include "workers/registry.h"

#include <string.h>

/* note_writing(since, /): note that this thread wrote a call, from then on, by time.monotonic_ns(): the queue of tasks
 * that it goes into next counts it. */
static PyObject *
note_writing(PyObject *Py_UNUSED(module), PyObject *argument)
{
    long long since = PyLong_AsLongLong(argument);
    if (since == -1 && PyErr_Occurred()) {
        return NULL;
    }
    owngil_events_wrote(since);
    Py_RETURN_NONE;
}

/* Lets the recording know what the worker is about to call. Returns 0, or -1 with the exception of an interrupt that came
 * meanwhile; what is wrong with the name itself is no error. */
static int
name_task(owngil_worker *worker, PyObject *fn, PyObject *args, PyObject *describe)
{
    PyObject *name = PyObject_CallFunctionObjArgs(describe, fn, args, NULL);
    const char *text = name != NULL && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    owngil_events_name(&worker->activity, text != NULL ? text : "a callable");
    Py_XDECREF(name);
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception)) {
        return -1;
    }
    PyErr_Clear();
    return 0;
}

/* call(fn, args, kwargs, describe, /): return fn(*args, **kwargs), the work of a worker's task. A recording names it
 * describe(fn, args). */
static PyObject *
call(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    owngil_worker *worker = owngil_worker_require_current();
    if (worker == NULL) {
        return NULL;
    }
    if (count != 4 || !PyTuple_Check(args[1]) || !PyDict_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "call() takes a callable, a tuple, a dict and a callable");
        return NULL;
    }
    if (owngil_recorder_current() != 0 && name_task(worker, args[0], args[1], args[3]) < 0) {
        return NULL;
    }
    /* The call has been read, which imports what it comes from. */
    owngil_state *state = PyModule_GetState(module);
    if (owngil_type_versions_complete(&state->versioned) < 0) {
        return NULL;
    }
    owngil_events_call(&worker->activity);
    PyObject *result = PyObject_Call(args[0], args[1], args[2]);
    owngil_events_return(&worker->activity);
    return result;
}

/* count_calls(calls, failed, /): note how many calls the task that is running has made, and how many of them failed;
 * without this, it counts as one. */
static PyObject *
count_calls(PyObject *Py_UNUSED(module), PyObject *args)
{
    owngil_worker *worker = owngil_worker_require_current();
    long long calls, failed;
    if (worker == NULL || !PyArg_ParseTuple(args, "LL:count_calls", &calls, &failed)) {
        return NULL;
    }
    worker->activity.calls = calls;
    worker->activity.failed = failed;
    Py_RETURN_NONE;
}

/* trace_start(): record what workers do from now on; return False if that is being done already. */
static PyObject *
trace_start(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong(owngil_recorder_start());
}

static void
add_unfinished(owngil_worker *worker)
{
    owngil_events_unfinished(&worker->activity);
}

static PyObject *
pack_events(const owngil_recorder_data *data)
{
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(data->count * sizeof(owngil_event_record)));
    char *at = bytes != NULL ? PyBytes_AS_STRING(bytes) : NULL;
    for (const owngil_recorder_chunk *chunk = data->first; at != NULL && chunk != NULL; chunk = chunk->next) {
        size_t size = chunk->count * sizeof(owngil_event_record);
        memcpy(at, chunk->events, size);
        at += size;
    }
    return bytes;
}

static PyObject *
list_rows(const owngil_recorder_data *data)
{
    PyObject *list = PyList_New(0);
    for (size_t k = 0; list != NULL && k < data->row_count; k++) {
        const owngil_recorder_thread *row = &data->rows[k];
        PyObject *item =
            Py_BuildValue("(sOK)", row->name, row->is_worker ? Py_True : Py_False, (unsigned long long)row->number);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
    }
    return list;
}

static PyObject *
list_names(const owngil_recorder_data *data)
{
    PyObject *list = PyList_New(0);
    for (size_t k = 0; list != NULL && k < data->name_count; k++) {
        PyObject *item = PyUnicode_FromString(data->names[k]);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
    }
    return list;
}

/* trace_stop(): end the recording and return (events, rows, names, dropped), or None if there is none. */
static PyObject *
trace_stop(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    owngil_recorder_data data = {0};
    if (owngil_recorder_current() != 0) {
        owngil_registry_each(add_unfinished);
    }
    if (!owngil_recorder_stop(&data)) {
        Py_RETURN_NONE;
    }
    PyObject *events = pack_events(&data);
    PyObject *rows = events != NULL ? list_rows(&data) : NULL;
    PyObject *names = rows != NULL ? list_names(&data) : NULL;
    PyObject *result = names != NULL ? Py_BuildValue("(OOOn)", events, rows, names, (Py_ssize_t)data.dropped) : NULL;
    Py_XDECREF(names);
    Py_XDECREF(rows);
    Py_XDECREF(events);
    owngil_recorder_free(&data);
    return result;
}

/* trace_forget(): drop a recording that came along into a forked process. */
static PyObject *
trace_forget(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    owngil_recorder_forget();
    Py_RETURN_NONE;
}

OWNGIL_DEFINE_FUNCTIONS(tracing, {"trace_start", trace_start, METH_NOARGS, NULL},
                        {"trace_stop", trace_stop, METH_NOARGS, NULL},
                        {"trace_forget", trace_forget, METH_NOARGS, NULL}, {"note_writing", note_writing, METH_O, NULL},
                        {"call", OWNGIL_FAST(call), NULL}, {"count_calls", count_calls, METH_VARARGS, NULL})

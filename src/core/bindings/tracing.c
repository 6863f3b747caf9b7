/* Functions that count and record what workers do. */
#include "bindings/worker.h"

#include "cpython/type_versions.h"
#include "tracing/recorder.h"
#include "workers/registry.h"

#include <string.h>

/* wrote_call(since, /): report that this thread has written a call, beginning at `since`, by time.monotonic_ns(). The
 * queue of tasks that the call goes into next counts that time. */
static PyObject *
wrote_call(PyObject *Py_UNUSED(module), PyObject *argument)
{
    long long since = PyLong_AsLongLong(argument);
    if (since == -1 && PyErr_Occurred()) {
        return NULL;
    }
    owngil_events_wrote(since);
    Py_RETURN_NONE;
}

/* Tells the recording the name of the call that the worker is about to make. Returns 0, or -1 with the exception of an
 * interrupt that came meanwhile; that describe() fails is no error. */
static int
record_name(owngil_worker *worker, PyObject *fn, PyObject *args, PyObject *describe)
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

/* call(fn, args, kwargs, describe, /): return fn(*args, **kwargs), the work of a worker's task. In a recording its name
 * is describe(fn, args). */
static PyObject *
call(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    owngil_worker *worker = owngil_worker_require_current();
    if (worker == NULL) {
        return NULL;
    }
    if (count != 4 || !PyTuple_Check(args[1]) || !PyDict_Check(args[2])) {
        return PyErr_Format(PyExc_TypeError, "call() takes a callable, a tuple, a dict and a callable");
    }
    if (owngil_recorder_current() != 0 && record_name(worker, args[0], args[1], args[3]) < 0) {
        return NULL;
    }
    /* Reading the call has imported the modules that it needs: their types need versions. */
    owngil_state *state = PyModule_GetState(module);
    if (owngil_type_versions_complete(&state->versioned) < 0) {
        return NULL;
    }
    owngil_events_call(&worker->activity);
    PyObject *result = PyObject_Call(args[0], args[1], args[2]);
    owngil_events_return(&worker->activity);
    return result;
}

/* count_calls(calls, failed, /): report how many calls the running task has made, and how many of them failed. Without
 * this, the task counts as one call. */
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

/* trace_start(): begin a recording of what workers do. Return False if one is on already. */
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
bytes_of_events(const owngil_recorder_data *data)
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
list_of_rows(const owngil_recorder_data *data)
{
    PyObject *list = PyList_New((Py_ssize_t)data->row_count);
    for (size_t k = 0; list != NULL && k < data->row_count; k++) {
        const owngil_recorder_thread *row = &data->rows[k];
        PyObject *item =
            Py_BuildValue("(sOK)", row->name, row->is_worker ? Py_True : Py_False, (unsigned long long)row->number);
        PyList_SET_ITEM(list, (Py_ssize_t)k, item);
        if (item == NULL) {
            Py_CLEAR(list);
        }
    }
    return list;
}

static PyObject *
list_of_names(const owngil_recorder_data *data)
{
    PyObject *list = PyList_New((Py_ssize_t)data->name_count);
    for (size_t k = 0; list != NULL && k < data->name_count; k++) {
        PyObject *item = PyUnicode_FromString(data->names[k]);
        PyList_SET_ITEM(list, (Py_ssize_t)k, item);
        if (item == NULL) {
            Py_CLEAR(list);
        }
    }
    return list;
}

/* trace_stop(): end the recording and return (events, rows, names, dropped), or None if none is on. */
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
    PyObject *result = Py_BuildValue("(NNNn)", bytes_of_events(&data), list_of_rows(&data), list_of_names(&data),
                                     (Py_ssize_t)data.dropped);
    owngil_recorder_free(&data);
    return result;
}

/* trace_forget(): drop the recording in a forked process, which inherited it. */
static PyObject *
trace_forget(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    owngil_recorder_forget();
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"trace_start", trace_start, METH_NOARGS},
    {"trace_stop", trace_stop, METH_NOARGS},
    {"trace_forget", trace_forget, METH_NOARGS},
    {"wrote_call", wrote_call, METH_O},
    {"call", OWNGIL_FAST(call)},
    {"count_calls", count_calls, METH_VARARGS},
    {NULL},
};

OWNGIL_DEFINE_FUNCTIONS(tracing, functions)

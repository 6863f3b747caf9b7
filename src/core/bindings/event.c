/* owngil.Event, owngil.Counter and the core of owngil.Barrier, seen from one interpreter. */
#include "sync/barrier.h"
#include "bindings/args.h"

#include <string.h>

int
owngil_sync_arguments(const char *function, const char *const *names, PyObject **values, PyObject *const *args,
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
owngil_sync_deadline(PyObject *timeout, owngil_deadline *deadline)
{
    if (timeout != Py_None) {
        double seconds = PyFloat_AsDouble(timeout);
        if (seconds == -1.0 && PyErr_Occurred()) {
            return -1;
        }
        if (seconds < 0.0) {
            *deadline = owngil_deadline_now;
            return 0;
        }
    }
    return owngil_deadline_from_object(timeout, deadline);
}

/* wait(timeout=None) of events and barriers. Returns 0, or -1 with an exception set. */
static int
parse_wait(PyObject *const *args, Py_ssize_t count, PyObject *kwnames, owngil_deadline *deadline)
{
    static const char *const names[] = {"timeout", NULL};
    PyObject *timeout = Py_None;
    if (owngil_sync_arguments("wait", names, &timeout, args, count, kwnames) < 0) {
        return -1;
    }
    return owngil_sync_deadline(timeout, deadline);
}

/* Event */

static owngil_event *
event_of(PyObject *self)
{
    return (owngil_event *)((owngil_wrapper *)self)->shared;
}

PyDoc_STRVAR(event_doc,
"Event()\n--\n\n"
"A flag that threads of any interpreter of this process wait for; otherwise as `threading.Event`.\n\n"
"It is passed as an argument, in a result or through a channel, or used by a function that is sent; all copies are the\n"
"same event, and equal. It lives as long as any of them.\n\n"
"Examples\n"
"--------\n"
">>> start = owngil.Event()\n"
">>> with owngil.Interpreter() as it:\n"
"...     future = it.submit(lambda: start.wait())\n"
"...     start.set()\n"
"...     future.result()\n"
"True\n");

static PyObject *
event_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":Event", names)) {
        return NULL;
    }
    owngil_event *event = owngil_event_new();
    return event != NULL ? owngil_wrap(type, &event->base) : PyErr_NoMemory();
}

PyDoc_STRVAR(event_set_doc,
"set($self, /)\n--\n\n"
"Set the flag, and wake everybody who waits for it.");

static PyObject *
event_set(PyObject *self, PyObject *Py_UNUSED(unused))
{
    owngil_event_set(event_of(self));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(event_clear_doc,
"clear($self, /)\n--\n\n"
"Unset the flag. Who was waiting when it was set goes on all the same.");

static PyObject *
event_clear(PyObject *self, PyObject *Py_UNUSED(unused))
{
    owngil_event_clear(event_of(self));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(event_is_set_doc,
"is_set($self, /)\n--\n\n"
"Return whether the flag is set.");

static PyObject *
event_is_set(PyObject *self, PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong(atomic_load(&event_of(self)->set));
}

PyDoc_STRVAR(event_wait_doc,
"wait($self, /, timeout=None)\n--\n\n"
"Wait until the flag is set, and return whether it is.\n\n"
"Parameters\n"
"----------\n"
"timeout : float, optional\n"
"    Seconds to wait. Default: as long as it takes.\n\n"
"Raises\n"
"------\n"
"KeyboardInterrupt\n"
"    On Ctrl-C, or `Interpreter.interrupt`, during the wait.\n");

static PyObject *
event_wait(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames)
{
    owngil_event *event = event_of(self);
    owngil_deadline deadline;
    owngil_code code;
    if (parse_wait(args, count, kwnames, &deadline) < 0) {
        return NULL;
    }
    uint64_t times_set = atomic_load(&event->times_set);
    if (atomic_load(&event->set)) {
        Py_RETURN_TRUE;
    }
    if (owngil_deadline_is_now(&deadline)) {
        Py_RETURN_FALSE;
    }
    do {
        owngil_wait_begin();
        Py_BEGIN_ALLOW_THREADS
        code = owngil_event_wait(event, times_set, &deadline);
        Py_END_ALLOW_THREADS
        if (owngil_wait_end_to_undo(code) < 0) { /* there is nothing to undo */
            return NULL;
        }
    } while (code == OWNGIL_INTERRUPTED);
    return PyBool_FromLong(code == OWNGIL_OK);
}

static PyObject *
event_repr(PyObject *self)
{
    owngil_event *event = event_of(self);
    return PyUnicode_FromFormat("<owngil.Event %s, %zu waiting>", atomic_load(&event->set) ? "set" : "unset",
                                owngil_event_waiting(event));
}

static PyMethodDef event_methods[] = {
    {"set", event_set, METH_NOARGS, event_set_doc},
    {"clear", event_clear, METH_NOARGS, event_clear_doc},
    {"is_set", event_is_set, METH_NOARGS, event_is_set_doc},
    {"wait", (PyCFunction)(void (*)(void))event_wait, METH_FASTCALL | METH_KEYWORDS, event_wait_doc},
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot event_slots[] = {
    {Py_tp_doc, (void *)event_doc},
    {Py_tp_new, event_new},
    {Py_tp_dealloc, owngil_wrapper_dealloc},
    {Py_tp_methods, event_methods},
    {Py_tp_repr, event_repr},
    {Py_tp_richcompare, owngil_wrapper_richcompare},
    {Py_tp_hash, owngil_wrapper_hash},
    {0, NULL},
};

PyType_Spec owngil_event_spec = {
    .name = "owngil.Event",
    .basicsize = sizeof(owngil_wrapper),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = event_slots,
};

/* Barrier */

static owngil_barrier *
barrier_of(PyObject *self)
{
    return (owngil_barrier *)((owngil_wrapper *)self)->shared;
}

PyDoc_STRVAR(barrier_doc,
"Barrier(parties)\n--\n\n"
"What belongs to the process of an owngil.Barrier.");

static PyObject *
barrier_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    Py_ssize_t parties;
    static char *names[] = {"parties", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "n:Barrier", names, &parties)) {
        return NULL;
    }
    if (parties < 1) {
        PyErr_Format(PyExc_ValueError, "parties must be 1 or more, not %zd", parties);
        return NULL;
    }
    owngil_barrier *barrier = owngil_barrier_new((size_t)parties);
    return barrier != NULL ? owngil_wrap(type, &barrier->base) : PyErr_NoMemory();
}

/* Sets threading's own exception for a broken barrier, or MemoryError. Returns NULL. */
static PyObject *
raise_code(owngil_code code)
{
    if (code == OWNGIL_NO_MEMORY) {
        return PyErr_NoMemory();
    }
    PyObject *threading = PyImport_ImportModule("threading");
    PyObject *error = threading != NULL ? PyObject_GetAttrString(threading, "BrokenBarrierError") : NULL;
    if (error != NULL) {
        PyErr_SetString(error, code == OWNGIL_TIMEOUT ? "timed out: the barrier is broken now"
                                                      : "the barrier is broken, or was reset");
    }
    Py_XDECREF(error);
    Py_XDECREF(threading);
    return NULL;
}

PyDoc_STRVAR(barrier_wait_doc,
"wait(timeout=None, action=None)\n--\n\n"
"Wait until all have come; the last one calls `action` before anybody goes on.");

static PyObject *
barrier_wait(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames)
{
    owngil_barrier *barrier = barrier_of(self);
    owngil_meeting *meeting = NULL;
    bool last = false;
    owngil_deadline deadline;
    static const char *const names[] = {"timeout", "action", NULL};
    PyObject *values[] = {Py_None, Py_None};
    if (owngil_sync_arguments("wait", names, values, args, count, kwnames) < 0
        || owngil_sync_deadline(values[0], &deadline) < 0) {
        return NULL;
    }
    /* Only now and then somebody must wait to join. */
    owngil_code code = owngil_barrier_join(barrier, &meeting, &last, NULL);
    int failed = 0;
    while (!failed && code == OWNGIL_INTERRUPTED) {
        owngil_wait_begin();
        Py_BEGIN_ALLOW_THREADS
        code = owngil_barrier_join(barrier, &meeting, &last, &deadline);
        Py_END_ALLOW_THREADS
        failed = owngil_wait_end_to_undo(code) < 0;
    }
    if (meeting == NULL) {
        return failed ? NULL : raise_code(code);
    }
    if (last) {
        /* An interrupt while it waited to join takes the place of the action: the others must not wait for ever. */
        PyObject *result = failed ? NULL : values[1] == Py_None ? Py_NewRef(Py_None) : PyObject_CallNoArgs(values[1]);
        failed = result == NULL;
        Py_XDECREF(result);
        code = owngil_barrier_end(barrier, meeting, failed);
    }
    else if (!failed) {
        do {
            owngil_wait_begin();
            Py_BEGIN_ALLOW_THREADS
            code = owngil_barrier_wait(barrier, meeting, &deadline);
            Py_END_ALLOW_THREADS
            failed = owngil_wait_end_to_undo(code) < 0;
        } while (!failed && code == OWNGIL_INTERRUPTED);
    }
    size_t number = owngil_barrier_leave(barrier, meeting, last);
    if (failed) {
        return NULL;
    }
    return code == OWNGIL_OK ? PyLong_FromSize_t(number) : raise_code(code);
}

static PyObject *
barrier_abort(PyObject *self, PyObject *Py_UNUSED(unused))
{
    owngil_barrier_abort(barrier_of(self));
    Py_RETURN_NONE;
}

static PyObject *
barrier_reset(PyObject *self, PyObject *Py_UNUSED(unused))
{
    owngil_barrier_reset(barrier_of(self));
    Py_RETURN_NONE;
}

static PyObject *
barrier_get_parties(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromSize_t(barrier_of(self)->parties);
}

static PyObject *
barrier_get_n_waiting(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromSize_t(owngil_barrier_waiting(barrier_of(self)));
}

static PyObject *
barrier_get_broken(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(owngil_barrier_is_broken(barrier_of(self)));
}

static PyMethodDef barrier_methods[] = {
    {"wait", (PyCFunction)(void (*)(void))barrier_wait, METH_FASTCALL | METH_KEYWORDS, barrier_wait_doc},
    {"abort", barrier_abort, METH_NOARGS, NULL},
    {"reset", barrier_reset, METH_NOARGS, NULL},
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef barrier_getset[] = {
    {"parties", barrier_get_parties, NULL, NULL, NULL},
    {"n_waiting", barrier_get_n_waiting, NULL, NULL, NULL},
    {"broken", barrier_get_broken, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot barrier_slots[] = {
    {Py_tp_doc, (void *)barrier_doc},
    {Py_tp_new, barrier_new},
    {Py_tp_dealloc, owngil_wrapper_dealloc},
    {Py_tp_methods, barrier_methods},
    {Py_tp_getset, barrier_getset},
    {Py_tp_richcompare, owngil_wrapper_richcompare},
    {Py_tp_hash, owngil_wrapper_hash},
    {0, NULL},
};

PyType_Spec owngil_barrier_spec = {
    .name = "owngil._core.Barrier",
    .basicsize = sizeof(owngil_wrapper),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = barrier_slots,
};

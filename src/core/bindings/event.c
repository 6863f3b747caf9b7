/* owngil.Event: a process-wide flag seen from one interpreter. */
#include "sync/event.h"
#include "bindings/args.h"
#include "bindings/wait.h"
#include "bindings/wrapper.h"

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
    owngil_event_set(OWNGIL_UNWRAP(owngil_event, self));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(event_clear_doc,
"clear($self, /)\n--\n\n"
"Unset the flag. Who was waiting when it was set goes on all the same.");

static PyObject *
event_clear(PyObject *self, PyObject *Py_UNUSED(unused))
{
    owngil_event_clear(OWNGIL_UNWRAP(owngil_event, self));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(event_is_set_doc,
"is_set($self, /)\n--\n\n"
"Return whether the flag is set.");

static PyObject *
event_is_set(PyObject *self, PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong(atomic_load(&OWNGIL_UNWRAP(owngil_event, self)->set));
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
    owngil_event *event = OWNGIL_UNWRAP(owngil_event, self);
    owngil_deadline deadline;
    owngil_status code;
    static const char *const names[] = {"timeout", NULL};
    PyObject *timeout = Py_None;
    if (owngil_args_parse("wait", names, &timeout, args, count, kwnames) < 0
        || owngil_args_timeout_or_passed(timeout, &deadline) < 0) {
        return NULL;
    }
    uint64_t times_set = atomic_load(&event->times_set);
    if (atomic_load(&event->set)) {
        Py_RETURN_TRUE;
    }
    if (deadline == OWNGIL_DEADLINE_NOW) {
        Py_RETURN_FALSE;
    }
    do {
        owngil_wait_begin();
        Py_BEGIN_ALLOW_THREADS
        code = owngil_event_wait(event, times_set, deadline);
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
    owngil_event *event = OWNGIL_UNWRAP(owngil_event, self);
    return PyUnicode_FromFormat("<owngil.Event %s, %zu waiting>", atomic_load(&event->set) ? "set" : "unset",
                                owngil_event_waiting(event));
}

static PyMethodDef event_methods[] = {
    {"set", event_set, METH_NOARGS, event_set_doc},
    {"clear", event_clear, METH_NOARGS, event_clear_doc},
    {"is_set", event_is_set, METH_NOARGS, event_is_set_doc},
    {"wait", OWNGIL_FAST(event_wait) | METH_KEYWORDS, event_wait_doc},
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot event_slots[] = {
    {Py_tp_doc, (void *)event_doc},
    {Py_tp_new, event_new},
    {Py_tp_dealloc, owngil_wrapper_dealloc},
    {Py_tp_methods, event_methods},
    {Py_tp_repr, event_repr},
    {Py_tp_richcompare, owngil_wrapper_compare},
    {Py_tp_hash, owngil_wrapper_hash},
    {0, NULL},
};

OWNGIL_DEFINE_TYPE(event, "owngil.Event", owngil_wrapper, 0, event_slots, OWNGIL_SYNC_TYPE(EVENT))

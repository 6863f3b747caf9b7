/* owngil.Event: a process-wide flag seen from one interpreter. */
#include "sync/event.h"
#include "bindings/args.h"
#include "bindings/wait.h"
#include "bindings/wrapper.h"

PyDoc_STRVAR(event_doc,
"Event()\n--\n\n"
"A flag that threads of all interpreters of this process can wait for; otherwise like `threading.Event`.\n\n"
"You can send it as an argument, in a result or through a channel, or use it in a function that you send. All copies\n"
"are the same event and compare equal. It lives as long as any of them.\n\n"
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
    return owngil_wrap(type, (owngil_refcounted *)owngil_event_new());
}

PyDoc_STRVAR(event_set_doc,
"set($self, /)\n--\n\n"
"Set the flag, and wake all threads that wait for it.");

OWNGIL_DEFINE_ACTION(event_set, owngil_event, owngil_event_set)

PyDoc_STRVAR(event_clear_doc,
"clear($self, /)\n--\n\n"
"Unset the flag. Threads that were waiting when it was set go on all the same.");

OWNGIL_DEFINE_ACTION(event_clear, owngil_event, owngil_event_clear)

PyDoc_STRVAR(event_is_set_doc,
"is_set($self, /)\n--\n\n"
"Return whether the flag is set.");

OWNGIL_DEFINE_METHOD(event_is_set, owngil_event, PyBool_FromLong, atomic_load(&self->set))

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
"    On Ctrl-C or `Interpreter.interrupt` during the wait.\n");

static PyObject *
event_wait(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames)
{
    owngil_event *event = OWNGIL_UNWRAP(owngil_event, self);
    owngil_deadline deadline;
    static const char *const names[] = {"timeout", NULL};
    PyObject *timeout = Py_None;
    if (owngil_args_parse("wait", names, &timeout, args, count, kwnames) < 0
        || owngil_args_timeout(timeout, true, &deadline) < 0) {
        return NULL;
    }
    uint64_t times_set = atomic_load(&event->times_set);
    if (atomic_load(&event->set)) {
        Py_RETURN_TRUE;
    }
    if (deadline == OWNGIL_DEADLINE_NOW) {
        Py_RETURN_FALSE;
    }
    int failed;
    owngil_status code;
    OWNGIL_WAIT_TO_UNDO(failed, code, owngil_event_wait(event, times_set, deadline)); /* nothing to undo */
    return failed < 0 ? NULL : PyBool_FromLong(code == OWNGIL_OK);
}

static PyObject *
event_repr(PyObject *self)
{
    owngil_event *event = OWNGIL_UNWRAP(owngil_event, self);
    return PyUnicode_FromFormat("<owngil.Event %s, %zu waiting>", atomic_load(&event->set) ? "set" : "unset",
                                owngil_waitable_waiting(&event->waitable));
}

static PyMethodDef event_methods[] = {
    {"set", event_set, METH_NOARGS, event_set_doc},
    {"clear", event_clear, METH_NOARGS, event_clear_doc},
    {"is_set", event_is_set, METH_NOARGS, event_is_set_doc},
    {"wait", OWNGIL_FAST(event_wait) | METH_KEYWORDS, event_wait_doc},
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS},
    {NULL},
};

static PyType_Slot event_slots[] = {
    {Py_tp_doc, (void *)event_doc}, {Py_tp_new, event_new}, {Py_tp_methods, event_methods},
    {Py_tp_repr, event_repr},       OWNGIL_HANDLE_SLOTS,    {0},
};

OWNGIL_DEFINE_TYPE(event, "owngil.Event", owngil_wrapper, 0, event_slots, OWNGIL_SYNC_TYPE(EVENT))

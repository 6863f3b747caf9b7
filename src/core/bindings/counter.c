/* owngil.Counter: a process-wide number seen from one interpreter. */
#include "sync/counter.h"
#include "bindings/args.h"
#include "bindings/wrapper.h"

/* Reads the argument `name`. Returns 0, or -1 with TypeError or OverflowError set. */
static int
value_from_object(PyObject *object, const char *name, int64_t *value)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (overflow != 0) {
        PyErr_Format(PyExc_OverflowError, "%s must fit into 64 bits, not %R", name, object);
        return -1;
    }
    *value = number;
    return number == -1 && PyErr_Occurred() ? -1 : 0;
}

PyDoc_STRVAR(counter_doc,
"Counter(value=0)\n--\n\n"
"A number that threads of all interpreters of this process can change atomically: no change is lost.\n\n"
"You can send it as an argument, in a result or through a channel, or use it in a function that you send. All copies\n"
"are the same counter and compare equal, whatever their values. It lives as long as any of them.\n\n"
"Parameters\n"
"----------\n"
"value : int, optional\n"
"    The number at first: a signed integer of 64 bits, like all its values.\n\n"
"Raises\n"
"------\n"
"OverflowError\n"
"    If `value` does not fit into 64 bits.\n\n"
"Notes\n"
"-----\n"
"No method waits or releases the GIL.\n\n"
"Examples\n"
"--------\n"
">>> done = owngil.Counter()\n"
">>> with owngil.Pool(2) as pool:\n"
"...     numbers = list(pool.map(lambda k: done.add(k), range(5)))\n"
">>> done.value\n"
"10\n"
">>> done.compare_exchange(10, 0), done.exchange(7), done.value\n"
"(True, 0, 7)\n");

static PyObject *
counter_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *object = NULL;
    int64_t value = 0;
    static char *names[] = {"value", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:Counter", names, &object)
        || (object != NULL && value_from_object(object, "value", &value) < 0)) {
        return NULL;
    }
    return owngil_wrap(type, (owngil_refcounted *)owngil_counter_new(value));
}

PyDoc_STRVAR(counter_add_doc,
"add($self, /, n=1)\n--\n\n"
"Add a number, and return the new value.\n\n"
"Parameters\n"
"----------\n"
"n : int, optional\n"
"    The number to add; it may be negative.\n\n"
"Raises\n"
"------\n"
"OverflowError\n"
"    If `n` or the sum does not fit into 64 bits; the counter is unchanged.\n");

static PyObject *
counter_add(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames)
{
    int64_t n = 1, sum;
    if (count != 0 || kwnames != NULL) {
        static const char *const names[] = {"n", NULL};
        PyObject *object = NULL;
        if (owngil_args_parse("add", names, &object, args, count, kwnames) < 0
            || (object != NULL && value_from_object(object, "n", &n) < 0)) {
            return NULL;
        }
    }
    if (!owngil_counter_add(OWNGIL_UNWRAP(owngil_counter, self), n, &sum)) {
        return PyErr_Format(PyExc_OverflowError, "the sum does not fit into 64 bits");
    }
    return PyLong_FromLongLong(sum);
}

PyDoc_STRVAR(counter_exchange_doc,
"exchange($self, value, /)\n--\n\n"
"Set the counter to `value`, and return its former value.\n\n"
"Raises\n"
"------\n"
"OverflowError\n"
"    If `value` does not fit into 64 bits.\n");

static PyObject *
counter_exchange(PyObject *self, PyObject *object)
{
    int64_t value;
    if (value_from_object(object, "value", &value) < 0) {
        return NULL;
    }
    return PyLong_FromLongLong(atomic_exchange(&OWNGIL_UNWRAP(owngil_counter, self)->value, value));
}

PyDoc_STRVAR(counter_compare_exchange_doc,
"compare_exchange($self, expected, value, /)\n--\n\n"
"Set the counter to `value` if its value is `expected`, and return whether it was.\n\n"
"Raises\n"
"------\n"
"OverflowError\n"
"    If one of the numbers does not fit into 64 bits.\n");

static PyObject *
counter_compare_exchange(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    int64_t expected, value;
    if (owngil_args_check_count("compare_exchange", count, 2, 2) < 0
        || value_from_object(args[0], "expected", &expected) < 0 || value_from_object(args[1], "value", &value) < 0) {
        return NULL;
    }
    return PyBool_FromLong(
        atomic_compare_exchange_strong(&OWNGIL_UNWRAP(owngil_counter, self)->value, &expected, value));
}

OWNGIL_DEFINE_GETTER(counter_get_value, owngil_counter, PyLong_FromLongLong, atomic_load(&self->value))

static PyObject *
counter_repr(PyObject *self)
{
    return PyUnicode_FromFormat("<owngil.Counter value=%lld>",
                                (long long)atomic_load(&OWNGIL_UNWRAP(owngil_counter, self)->value));
}

static PyMethodDef counter_methods[] = {
    {"add", OWNGIL_FAST(counter_add) | METH_KEYWORDS, counter_add_doc},
    {"exchange", counter_exchange, METH_O, counter_exchange_doc},
    {"compare_exchange", OWNGIL_FAST(counter_compare_exchange), counter_compare_exchange_doc},
    {"__reduce__", owngil_wrapper_reduce, METH_NOARGS},
    {NULL},
};

static PyGetSetDef counter_getset[] = {
    {"value", counter_get_value, NULL, "The number at this moment."},
    {NULL},
};

static PyType_Slot counter_slots[] = {
    {Py_tp_doc, (void *)counter_doc},
    {Py_tp_new, counter_new},
    {Py_tp_methods, counter_methods},
    {Py_tp_getset, counter_getset},
    {Py_tp_repr, counter_repr},
    OWNGIL_HANDLE_SLOTS,
    {0},
};

OWNGIL_DEFINE_TYPE(counter, "owngil.Counter", owngil_wrapper, 0, counter_slots, OWNGIL_SYNC_TYPE(COUNTER))

/* Test module with STB_GNU_UNIQUE symbols: the dynamic loader keeps one of each for the whole process. */
#include <Python.h>

template <typename T> struct Counter {
    static long total;
    static long next() { return ++total; }
};
template <typename T> long Counter<T>::total = 0;

inline long &
of_function()
{
    static long count = 0;
    return count;
}

inline long of_namespace = 0;

static PyObject *
bump(PyObject *, PyObject *)
{
    return Py_BuildValue("lll", Counter<int>::next(), ++of_function(), ++of_namespace);
}

static PyObject *
fail_inside(PyObject *, PyObject *)
{
    try {
        throw of_function();
    }
    catch (long count) {
        return PyLong_FromLong(count);
    }
}

static PyMethodDef methods[] = {
    {"bump", bump, METH_NOARGS, nullptr},
    {"fail_inside", fail_inside, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

static PyModuleDef_Slot slots[] = {{0, nullptr}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "unique", nullptr, 0, methods, slots, nullptr, nullptr, nullptr};

PyMODINIT_FUNC
PyInit_unique()
{
    return PyModuleDef_Init(&definition);
}

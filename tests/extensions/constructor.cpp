/* Test module: a thread of the C++ library that the module's constructor starts and joins.
 *
 *     rounds()            how far that thread has counted
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <thread>

static long counted;

struct counter {
    counter()
    {
        std::thread([] { counted++; }).join();
    }
};

static counter the_counter;

static PyObject *
rounds(PyObject *, PyObject *)
{
    return PyLong_FromLong(counted);
}

static PyMethodDef methods[] = {{"rounds", rounds, METH_NOARGS, nullptr}, {nullptr, nullptr, 0, nullptr}};
static PyModuleDef_Slot slots[] = {{0, nullptr}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "constructor", nullptr, 0, methods, slots, nullptr, nullptr, nullptr};

PyMODINIT_FUNC
PyInit_constructor(void)
{
    return PyModuleDef_Init(&definition);
}

/* Test module: as lasting.c, with threads of the C++ library.
 *
 *     start(how)          start one, by "std" or "async"; return (address of its number, of its flag to end)
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <chrono>
#include <future>
#include <thread>

enum { SMALL = 64 };

static std::future<void> *future; /* never destroyed: its destructor would wait for the thread */

static void
count(long *numbers)
{
    while (numbers[1] == 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        numbers[0]++;
    }
}

static PyObject *
start(PyObject *, PyObject *how)
{
    long *numbers = static_cast<long *>(PyObject_Calloc(1, SMALL));
    if (numbers == nullptr) {
        return PyErr_NoMemory();
    }
    if (PyUnicode_CompareWithASCIIString(how, "std") == 0) {
        std::thread(count, numbers).detach();
    }
    else {
        future = new std::future<void>(std::async(std::launch::async, count, numbers));
    }
    return Py_BuildValue("KK", static_cast<unsigned long long>(reinterpret_cast<size_t>(numbers)),
                         static_cast<unsigned long long>(reinterpret_cast<size_t>(numbers + 1)));
}

static PyMethodDef methods[] = {{"start", start, METH_O, nullptr}, {nullptr, nullptr, 0, nullptr}};
static PyModuleDef_Slot slots[] = {{0, nullptr}};
static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "lasting_cxx", nullptr, 0, methods, slots, nullptr, nullptr, nullptr};

PyMODINIT_FUNC
PyInit_lasting_cxx(void)
{
    return PyModuleDef_Init(&definition);
}

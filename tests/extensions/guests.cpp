/* Test module: guest threads, which Python did not start and which call it.
 *
 *     run(how, f)              call f() on a guest thread; return (its result, interpreter's id there, the first error)
 *     leave(how, delay, f)     start a guest thread that sleeps `delay` ms in C and then calls f(); do not wait for it
 *     own(f)                   the same calls as run() on the calling thread, without the GIL
 *     enter_address()          address of the C function enter(), which enters this interpreter and returns its id
 *     on_enter(f)              make enter() call f() first
 *
 * `how` names what starts the thread: "pthread", "dlsym", "std", "thrd", "pythread" (Python's C API) or "constructor",
 * whose thread waits for work since the module was loaded. */
#include <Python.h>

#include <condition_variable>
#include <cstring>
#include <dlfcn.h>
#include <functional>
#include <mutex>
#include <pthread.h>
#include <thread>
#include <threads.h>
#include <unistd.h>

namespace {

using Work = std::function<void()>;

/* Never destroyed: a thread may still use it when the module is unloaded. */
struct Waiting {
    std::mutex lock;
    std::condition_variable changed;
    Work *work = nullptr;
};
Waiting *waiting;

void *
wait_for_work(void *)
{
    for (;;) {
        std::unique_lock<std::mutex> guard(waiting->lock);
        waiting->changed.wait(guard, [] { return waiting->work != nullptr; });
        Work *work = waiting->work;
        waiting->work = nullptr;
        guard.unlock();
        (*work)();
        delete work;
    }
    return nullptr;
}

__attribute__((constructor)) void
begin()
{
#ifdef THREAD_IN_CONSTRUCTOR
    waiting = new Waiting;
    pthread_t thread;
    pthread_create(&thread, nullptr, wait_for_work, nullptr);
    pthread_detach(thread);
#endif
}

void *
run_work(void *argument)
{
    Work *work = static_cast<Work *>(argument);
    (*work)();
    delete work;
    return nullptr;
}

void
run_work_py(void *argument)
{
    run_work(argument);
}

int
run_work_11(void *argument)
{
    run_work(argument);
    return 0;
}

bool
start(const char *how, Work work)
{
    using create = int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    Work *owned = new Work(std::move(work));
    pthread_t thread;
    thrd_t thread_11;
    if (std::strcmp(how, "pthread") == 0 && pthread_create(&thread, nullptr, run_work, owned) == 0) {
        return pthread_detach(thread) == 0;
    }
    if (std::strcmp(how, "dlsym") == 0) {
        create function = reinterpret_cast<create>(dlsym(RTLD_DEFAULT, "pthread_create"));
        return function != nullptr && function(&thread, nullptr, run_work, owned) == 0 && pthread_detach(thread) == 0;
    }
    if (std::strcmp(how, "thrd") == 0 && thrd_create(&thread_11, run_work_11, owned) == thrd_success) {
        return thrd_detach(thread_11) == thrd_success;
    }
    if (std::strcmp(how, "pythread") == 0) {
        return PyThread_start_new_thread(run_work_py, owned) != PYTHREAD_INVALID_THREAD_ID;
    }
    if (std::strcmp(how, "std") == 0) {
        std::thread(run_work, static_cast<void *>(owned)).detach();
        return true;
    }
    if (std::strcmp(how, "constructor") == 0 && waiting != nullptr) {
        std::lock_guard<std::mutex> guard(waiting->lock);
        waiting->work = owned;
        waiting->changed.notify_one();
        return true;
    }
    delete owned;
    return false;
}

struct Outcome {
    PyObject *result = nullptr;
    long long id = -1;
    const char *wrong = "";
    std::mutex lock;
    std::condition_variable changed;
    bool done = false;

    void expect(bool right, const char *what)
    {
        if (!right && *wrong == '\0') {
            wrong = what;
        }
    }
};

/* Every use of PyGILState_*() that C code makes, from a thread that does not hold the GIL. */
void
use_python(PyObject *f, Outcome *outcome)
{
    outcome->expect(!PyGILState_Check(), "Check() before Ensure()");
    PyGILState_STATE outer = PyGILState_Ensure();
    outcome->expect(outer == PyGILState_UNLOCKED, "Ensure() had the GIL");
    outcome->expect(PyGILState_Check(), "Check() after Ensure()");
    outcome->id = PyInterpreterState_GetID(PyInterpreterState_Get());
    PyGILState_STATE inner = PyGILState_Ensure();
    outcome->expect(inner == PyGILState_LOCKED, "nested Ensure() had no GIL");

    Py_BEGIN_ALLOW_THREADS
    outcome->expect(!PyGILState_Check(), "Check() without the GIL");
    PyGILState_STATE again = PyGILState_Ensure();
    outcome->expect(again == PyGILState_UNLOCKED, "Ensure() without the GIL had it");
    outcome->result = PyObject_CallNoArgs(f);
    if (outcome->result == nullptr) {
        outcome->expect(false, "the call failed");
        PyErr_Print();
    }
    PyGILState_Release(again);
    outcome->expect(!PyGILState_Check(), "Check() after inner Release()");
    Py_END_ALLOW_THREADS

    PyGILState_Release(inner);
    outcome->expect(PyGILState_Check(), "Check() after nested Release()");
    PyGILState_Release(outer);
    outcome->expect(!PyGILState_Check(), "Check() after Release()");
}

PyObject *
answer(const Outcome &outcome)
{
    PyObject *result = outcome.result != nullptr ? outcome.result : Py_NewRef(Py_None);
    return Py_BuildValue("NLs", result, outcome.id, outcome.wrong);
}

PyObject *
run(PyObject *, PyObject *arguments)
{
    const char *how;
    PyObject *f;
    if (!PyArg_ParseTuple(arguments, "sO", &how, &f)) {
        return nullptr;
    }
    Outcome outcome;
    bool started;
    Py_BEGIN_ALLOW_THREADS
    started = start(how, [f, &outcome] {
        use_python(f, &outcome);
        std::lock_guard<std::mutex> guard(outcome.lock);
        outcome.done = true;
        outcome.changed.notify_one();
    });
    if (started) {
        std::unique_lock<std::mutex> guard(outcome.lock);
        outcome.changed.wait(guard, [&outcome] { return outcome.done; });
    }
    Py_END_ALLOW_THREADS
    if (!started) {
        PyErr_Format(PyExc_ValueError, "no thread by %s", how);
        return nullptr;
    }
    return answer(outcome);
}

PyObject *
leave(PyObject *, PyObject *arguments)
{
    const char *how;
    int delay;
    PyObject *f;
    if (!PyArg_ParseTuple(arguments, "siO", &how, &delay, &f)) {
        return nullptr;
    }
    Py_INCREF(f); /* for ever */
    bool started = start(how, [f, delay] {
        usleep(1000 * static_cast<useconds_t>(delay));
        PyGILState_STATE state = PyGILState_Ensure();
        PyObject *result = PyObject_CallNoArgs(f);
        if (result == nullptr) {
            PyErr_Print();
        }
        Py_XDECREF(result);
        PyGILState_Release(state);
    });
    return PyBool_FromLong(started);
}

PyObject *
own(PyObject *, PyObject *f)
{
    Outcome outcome;
    Py_BEGIN_ALLOW_THREADS
    use_python(f, &outcome);
    Py_END_ALLOW_THREADS
    return answer(outcome);
}

PyObject *on_entry;

extern "C" long long
enter()
{
    PyGILState_STATE state = PyGILState_Ensure();
    if (on_entry != nullptr) {
        PyObject *result = PyObject_CallNoArgs(on_entry);
        if (result == nullptr) {
            PyErr_Print();
        }
        Py_XDECREF(result);
    }
    long long id = PyInterpreterState_GetID(PyInterpreterState_Get());
    if (!PyGILState_Check()) {
        id = -2;
    }
    PyGILState_Release(state);
    return id;
}

PyObject *
enter_address(PyObject *, PyObject *)
{
    return PyLong_FromVoidPtr(reinterpret_cast<void *>(enter));
}

PyObject *
on_enter(PyObject *, PyObject *f)
{
    Py_XSETREF(on_entry, Py_NewRef(f));
    Py_RETURN_NONE;
}

PyMethodDef methods[] = {
    {"on_enter", on_enter, METH_O, nullptr},
    {"run", run, METH_VARARGS, nullptr},
    {"leave", leave, METH_VARARGS, nullptr},
    {"own", own, METH_O, nullptr},
    {"enter_address", enter_address, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef_Slot slots[] = {{0, nullptr}};
PyModuleDef definition = {PyModuleDef_HEAD_INIT, "guests", nullptr, 0, methods, slots, nullptr, nullptr, nullptr};

} // namespace

#ifndef NAME
#  define NAME PyInit_guests
#endif

PyMODINIT_FUNC
NAME(void)
{
    return PyModuleDef_Init(&definition);
}

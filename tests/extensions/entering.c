/* Threads from outside that enter a worker's interpreter late, or by the ways of PEP 788. */
#include <Python.h>
#include <pthread.h>
#include <semaphore.h>

static pthread_t thread;
static sem_t stop;
static PyObject *callback;
static long long interpreter = -1;
static void *handle; /* a view or a guard */

static void
call(void)
{
    interpreter = PyInterpreterState_GetID(PyInterpreterState_Get());
    PyObject *result = callback != NULL ? PyObject_CallNoArgs(callback) : Py_NewRef(Py_None);
    if (result == NULL) {
        PyErr_Print();
    }
    Py_XDECREF(result);
}

static void *
by_gilstate(void *unused)
{
    (void)unused;
    while (sem_wait(&stop) != 0) {
    }
    PyGILState_STATE state = PyGILState_Ensure();
    call();
    PyGILState_Release(state);
    return NULL;
}

#if PY_VERSION_HEX >= 0x030F0000
static void
by_view(PyInterpreterView *view)
{
    PyThreadStateToken *token = PyThreadState_EnsureFromView(view);
    if (token != NULL) {
        call();
        PyThreadState_Release(token);
    }
    PyInterpreterView_Close(view);
}

static void *
by_view_of_main(void *unused)
{
    (void)unused;
    by_view(PyInterpreterView_FromMain());
    by_view(PyInterpreterView_FromMain());
    return NULL;
}

static void *
again_and_again(void *unused)
{
    (void)unused;
    PyInterpreterView *view = PyInterpreterView_FromMain();
    PyThreadStateToken *token;
    while ((token = PyThreadState_EnsureFromView(view)) != NULL) {
        call();
        PyThreadState_Release(token);
    }
    PyInterpreterView_Close(view);
    return NULL;
}

static void *
by_own_view(void *unused)
{
    (void)unused;
    by_view(handle);
    return NULL;
}

static void *
by_guard(void *unused)
{
    (void)unused;
    PyThreadStateToken *token = PyThreadState_Ensure(handle);
    if (token != NULL) {
        call();
        PyThreadState_Release(token);
    }
    PyInterpreterGuard_Close(handle);
    return NULL;
}
#endif

/* start(how, callback): start a thread that enters in that way and calls the callback there. */
static PyObject *
start(PyObject *self, PyObject *args)
{
    (void)self;
    const char *how;
    if (!PyArg_ParseTuple(args, "sO", &how, &callback)) {
        return NULL;
    }
    Py_INCREF(callback);
    void *(*run)(void *) = by_gilstate;
    sem_init(&stop, 0, 0);
#if PY_VERSION_HEX >= 0x030F0000
    if (strcmp(how, "view of main") == 0) {
        run = by_view_of_main;
    }
    else if (strcmp(how, "again and again") == 0) {
        run = again_and_again;
    }
    else if (strcmp(how, "own view") == 0) {
        handle = PyInterpreterView_FromCurrent();
        run = by_own_view;
    }
    else if (strcmp(how, "guard") == 0) {
        handle = PyInterpreterGuard_FromCurrent();
        run = by_guard;
    }
#endif
    if (pthread_create(&thread, NULL, run, NULL) != 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_RETURN_NONE;
}

/* join(): let the thread enter, wait for its end, and return the id of the interpreter that it was in. */
static PyObject *
join(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    sem_post(&stop);
    Py_BEGIN_ALLOW_THREADS
    pthread_join(thread, NULL);
    Py_END_ALLOW_THREADS
    return PyLong_FromLongLong(interpreter);
}

static PyMethodDef methods[] = {{"start", start, METH_VARARGS, NULL}, {"join", join, METH_NOARGS, NULL}, {0}};
static PyModuleDef_Slot slots[] = {{0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "entering", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC
PyInit_entering(void)
{
    return PyModuleDef_Init(&definition);
}

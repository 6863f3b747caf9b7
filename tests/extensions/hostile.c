/* Test module: unusual behaviour that a worker must survive. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int dropped;

static void
drop(void *value)
{
    PyGILState_STATE state = PyGILState_Ensure();
    Py_DECREF((PyObject *)value);
    dropped++;
    PyGILState_Release(state);
}

/* Give the calling thread a value whose destructor needs the interpreter. */
static PyObject *
drop_at_end(PyObject *module, PyObject *value)
{
    pthread_key_t key;
    if (pthread_key_create(&key, drop) != 0 || pthread_setspecific(key, Py_NewRef(value)) != 0) {
        return PyErr_NoMemory();
    }
    Py_RETURN_NONE;
}

static struct {
    Py_buffer view;
    int go, answer;
} reading;

static void *
read_buffer(void *unused)
{
    struct pollfd go = {.fd = reading.go, .events = POLLIN};
    (void)poll(&go, 1, -1); /* not a futex, so that the thread does not look idle */
    const char *bytes = reading.view.buf;
    char changed = 'n';
    for (Py_ssize_t k = 0; k < reading.view.len; k++) {
        changed = bytes[k] != 'x' ? 'y' : changed;
    }
    (void)!write(reading.answer, &changed, 1);
    return NULL;
}

/* read_later(buffer, go, answer): start a thread that holds the buffer. When `go` is readable, the thread reads the
 * buffer and writes "y" to `answer` if it has changed, else "n". */
static PyObject *
read_later(PyObject *module, PyObject *args)
{
    PyObject *object;
    pthread_t thread;
    if (!PyArg_ParseTuple(args, "Oii", &object, &reading.go, &reading.answer)
        || PyObject_GetBuffer(object, &reading.view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    if (pthread_create(&thread, NULL, read_buffer, NULL) != 0) {
        return PyErr_NoMemory();
    }
    pthread_detach(thread);
    Py_RETURN_NONE;
}

static void
tick(union sigval fd)
{
    (void)!write(fd.sival_int, "t", 1);
}

/* tick_into(fd): make the C library start a thread every millisecond, which writes to `fd`. */
static PyObject *
tick_into(PyObject *module, PyObject *fd)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = tick};
    struct itimerspec times = {{0, 1000000}, {0, 1000000}};
    timer_t timer;
    event.sigev_value.sival_int = (int)PyLong_AsLong(fd);
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 || timer_settime(timer, 0, &times, NULL) != 0) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"drop_at_end", drop_at_end, METH_O, NULL},
    {"read_later", read_later, METH_VARARGS, NULL},
    {"tick_into", tick_into, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

#ifdef SLOW_CONSTRUCTOR
static void
at_end(void)
{
    dropped++;
}

/* Report the beginning, and return after a thread that wants the GIL has asked for it, which takes 5 ms. */
__attribute__((constructor)) static void
begin(void)
{
    const char *begun = getenv("HOSTILE_BEGUN"), *go = getenv("HOSTILE_GO");
    char byte;
    (void)!write(atoi(begun), "b", 1);
    (void)!read(atoi(go), &byte, 1);
    usleep(50000);
    atexit(at_end);
}
#endif

#ifdef TEXT_RELOCATION
/* An absolute address in read-only text; linked with -z notext. */
__asm__(".text\n.globl ensure_address\n.type ensure_address,@function\n"
        "ensure_address:\n movabs $PyGILState_Ensure,%rax\n ret\n.size ensure_address,.-ensure_address\n");
extern PyGILState_STATE (*ensure_address(void))(void);

static int
exec(PyObject *module)
{
    PyGILState_Release(ensure_address()());
    return 0;
}
#else
static int
exec(PyObject *module)
{
    return 0;
}
#endif

static PyModuleDef_Slot slots[] = {{Py_mod_exec, exec}, {0, NULL}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "hostile", .m_methods = functions, .m_slots = slots};

PyMODINIT_FUNC
PyInit_hostile(void)
{
    return PyModuleDef_Init(&definition);
}

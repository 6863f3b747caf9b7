/* Test module: a thread that counts in memory that the module got from Python, until it is told to end.
 *
 *     start(how)          start it, by "pthread", "thrd" or "pythread"; return the addresses of its count and of its
 *                         flag to end
 *
 * Between two counts, the thread waits for a condition with a timeout: the system shows it as blocked.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <pthread.h>
#include <string.h>
#include <threads.h>
#include <time.h>

enum { SMALL = 64, LARGE = 4096 }; /* one from a Python arena, one from malloc */

typedef struct {
    long *small, *large;
} counts;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;

static void *
count(void *argument)
{
    counts *self = argument;
    pthread_mutex_lock(&lock);
    while (self->small[1] == 0) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 1000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        pthread_cond_timedwait(&never, &lock, &until);
        self->large[0]++;
        self->small[0] = self->large[0];
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

static int
count_c11(void *argument)
{
    count(argument);
    return 0;
}

static void
count_python(void *argument)
{
    count(argument);
}

static PyObject *
start(PyObject *self, PyObject *how)
{
    (void)self;
    const char *name = PyUnicode_AsUTF8(how);
    counts *memory = name != NULL ? malloc(sizeof(*memory)) : NULL;
    if (memory == NULL) {
        return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    }
    *memory = (counts){PyObject_Calloc(1, SMALL), PyObject_Calloc(1, LARGE)};
    pthread_t thread;
    thrd_t thread_11;
    int started = strcmp(name, "pthread") == 0 ? pthread_create(&thread, NULL, count, memory) == 0
                  : strcmp(name, "thrd") == 0  ? thrd_create(&thread_11, count_c11, memory) == thrd_success
                                               : PyThread_start_new_thread(count_python, memory)
                                                    != PYTHREAD_INVALID_THREAD_ID;
    if (!started) {
        PyErr_SetString(PyExc_RuntimeError, "no thread can be started");
        return NULL;
    }
    return Py_BuildValue("KK", (unsigned long long)(size_t)memory->small, (unsigned long long)(size_t)(memory->small + 1));
}

static PyMethodDef methods[] = {{"start", start, METH_O, NULL}, {NULL, NULL, 0, NULL}};
static PyModuleDef_Slot slots[] = {{0, NULL}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "lasting", .m_methods = methods, .m_slots = slots};

PyMODINIT_FUNC
PyInit_lasting(void)
{
    return PyModuleDef_Init(&definition);
}

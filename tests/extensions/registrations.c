/* Test module: register(fd, source, name) gives the process a function or memory of this module by `name`, a function or
 * variable of Python, the C library or the C++ library. When the function is called, it writes "C" to the descriptor fd. A
 * request by aio_read() reads from the descriptor `source`. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <aio.h>
#include <dlfcn.h>
#include <obstack.h>
#include <printf.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int fd;

static void
note(void)
{
    if (write(fd, "C", 1) < 0) {
        abort();
    }
}

#if PY_VERSION_HEX >= 0x030D0000
static int
on_object(PyObject *object, PyRefTracerEvent event, void *data)
{
    static int noted;
    if (noted++ == 0) {
        note();
    }
    return 0;
}
#endif

static int
on_audit(const char *event, PyObject *arguments, void *data)
{
    if (strcmp(event, "test.event") == 0) {
        note();
    }
    return 0;
}

static int
on_pending(void *data)
{
    note();
    return 0;
}

static PyObject *
on_open(PyObject *path, void *data)
{
    note();
    PyObject *io = PyImport_ImportModule("_io");
    return io == NULL ? NULL : PyObject_CallMethod(io, "open", "Os", path, "rb");
}

static char *
on_readline(FILE *in, FILE *out, const char *prompt)
{
    note();
    return NULL;
}

static void
with_argument(void *argument)
{
    note();
}

static void
on_exit_(int status, void *argument)
{
    note();
}

static void
on_event(union sigval value)
{
    note();
}

static int
print(FILE *file, const struct printf_info *info, const void *const *arguments)
{
    note();
    return 0;
}

static int
describe(const struct printf_info *info, size_t count, int *types, int *sizes)
{
    return 0;
}

static ssize_t
on_write(void *cookie, const char *buffer, size_t size)
{
    note();
    return (ssize_t)size;
}

static void
on_terminate(void)
{
    note();
    abort();
}

static int
ask_aio(int from)
{
    static char byte;
    static struct aiocb request;
    request = (struct aiocb){.aio_fildes = from, .aio_buf = &byte, .aio_nbytes = 1};
    request.aio_sigevent.sigev_notify = SIGEV_THREAD;
    request.aio_sigevent.sigev_notify_function = on_event;
    return aio_read(&request);
}

extern int __cxa_at_quick_exit(void (*)(void *), void *);
extern int __cxa_atexit(void (*)(void *), void *, void *);

static PyObject *
register_(PyObject *self, PyObject *arguments)
{
    const char *name;
    int from, failed = 0;
    if (!PyArg_ParseTuple(arguments, "iis", &fd, &from, &name)) {
        return NULL;
    }
    if (strcmp(name, "PySys_AddAuditHook") == 0) {
        failed = PySys_AddAuditHook(on_audit, NULL);
    }
#if PY_VERSION_HEX >= 0x030D0000
    else if (strcmp(name, "PyRefTracer_SetTracer") == 0) {
        failed = PyRefTracer_SetTracer(on_object, NULL);
    }
    else if (strcmp(name, "dlsym") == 0) {
        int (*set)(PyRefTracer, void *) =
            (int (*)(PyRefTracer, void *))dlsym(RTLD_DEFAULT, "PyRefTracer_SetTracer");
        failed = set(on_object, NULL);
    }
#endif
    else if (strcmp(name, "Py_AddPendingCall") == 0) {
        failed = Py_AddPendingCall(on_pending, NULL);
    }
    else if (strcmp(name, "PyFile_SetOpenCodeHook") == 0) {
        failed = PyFile_SetOpenCodeHook(on_open, NULL);
    }
    else if (strcmp(name, "PyOS_ReadlineFunctionPointer") == 0) {
        PyOS_ReadlineFunctionPointer = on_readline;
    }
    else if (strcmp(name, "PyOS_InputHook") == 0) {
        PyOS_InputHook = (int (*)(void))note;
    }
    else if (strcmp(name, "obstack_alloc_failed_handler") == 0) {
        obstack_alloc_failed_handler = note;
    }
    else if (strcmp(name, "__cxa_at_quick_exit") == 0) {
        failed = __cxa_at_quick_exit(with_argument, NULL);
    }
    else if (strcmp(name, "__cxa_atexit") == 0) {
        failed = __cxa_atexit(with_argument, NULL, NULL);
    }
    else if (strcmp(name, "on_exit") == 0) {
        failed = on_exit(on_exit_, NULL);
    }
    else if (strcmp(name, "timer_create") == 0) {
        struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_event};
        struct itimerspec when = {.it_value.tv_nsec = 1, .it_interval.tv_nsec = 10000000};
        timer_t timer;
        failed = timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &when, NULL);
    }
    else if (strcmp(name, "aio_read") == 0) {
        failed = ask_aio(from);
    }
    else if (strcmp(name, "register_printf_specifier") == 0) {
        failed = register_printf_specifier('W', print, describe);
    }
    else if (strcmp(name, "fopencookie") == 0) {
        FILE *file = fopencookie(NULL, "w", (cookie_io_functions_t){.write = on_write});
        failed = file == NULL || fputs("left", file) < 0;
    }
    else if (strcmp(name, "setvbuf") == 0) {
        static char buffer[64];
        FILE *file = fdopen(dup(fd), "w");
        failed = file == NULL || setvbuf(file, buffer, _IOFBF, sizeof(buffer)) || fputs("C", file) < 0;
    }
    else if (strcmp(name, "open_memstream") == 0) {
        static char *buffer;
        static size_t size;
        FILE *file = open_memstream(&buffer, &size);
        failed = file == NULL || fputs("left", file) < 0;
    }
    else if (strcmp(name, "putenv") == 0) {
        static char assignment[] = "OWNGIL_TEST_REGISTRATIONS=C";
        failed = putenv(assignment);
    }
    else if (strcmp(name, "set_terminate") == 0 || strcmp(name, "set_new_handler") == 0) {
        extern void *_ZSt13set_terminatePFvvE(void (*)(void)), *_ZSt15set_new_handlerPFvvE(void (*)(void));
        if (strcmp(name, "set_terminate") == 0) {
            _ZSt13set_terminatePFvvE(on_terminate);
        }
        else {
            _ZSt15set_new_handlerPFvvE(on_terminate);
        }
    }
    else if (strcmp(name, "__register_frame") == 0) {
        extern void __register_frame(void *);
        static struct {
            unsigned int length, zero; /* no frames */
        } frames;
        __register_frame(&frames);
    }
    else {
        failed = 1;
    }
    return PyBool_FromLong(!failed);
}

static PyMethodDef methods[] = {{"register", register_, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static PyModuleDef_Slot slots[] = {{0, NULL}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "registrations", .m_methods = methods, .m_slots = slots};

PyMODINIT_FUNC
PyInit_registrations(void)
{
    return PyModuleDef_Init(&definition);
}

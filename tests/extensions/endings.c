/* Test module: every kind of function that C code registers to be called later. When called, each writes one byte to
 * the descriptor that tell(fd) has set. */
#include <Python.h>

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static int fd = -1;

static void
note(char what)
{
    if (fd >= 0 && write(fd, &what, 1) < 0) {
        abort();
    }
}

static int begun;

__attribute__((constructor)) static void
begin(void)
{
    begun++;
}

__attribute__((destructor)) static void
end(void)
{
    note('D');
}

static void
at_exit(void)
{
    note('X');
}

static void
at_python_exit(void)
{
    note('P');
}

static void
key_destroyed(void *value)
{
    note('K');
}

static void
on_signal(int number)
{
    note('S');
}

static int
on_audit(const char *event, PyObject *arguments, void *data)
{
    return 0;
}

static PyObject *
tell(PyObject *self, PyObject *number)
{
    fd = (int)PyLong_AsLong(number);
    return PyLong_FromLong(begun);
}

static PyObject *
register_(PyObject *self, PyObject *what)
{
    static pthread_key_t key;
    struct sigaction action = {.sa_handler = on_signal};
    int failed = 0;
    switch (PyUnicode_READ_CHAR(what, 0)) {
    case 'X':
        failed = atexit(at_exit);
        break;
    case 'P':
        failed = Py_AtExit(at_python_exit);
        break;
    case 'K':
        failed = pthread_key_create(&key, key_destroyed) || pthread_setspecific(key, &key);
        break;
    case 'S':
        failed = sigaction(SIGUSR1, &action, NULL);
        break;
    case 'A':
        failed = PySys_AddAuditHook(on_audit, NULL);
        break;
    }
    return PyBool_FromLong(!failed);
}

static PyObject *
look_up(PyObject *self, PyObject *unused)
{
    Dl_info info;
    if (dladdr((void *)look_up, &info) == 0) {
        Py_RETURN_NONE;
    }
    void *handle = dlopen(NULL, RTLD_LAZY);
    int same = dlsym(handle, "getpid") == dlsym(RTLD_DEFAULT, "getpid") && dlsym(RTLD_DEFAULT, "getpid") != NULL
               && dlsym(RTLD_NEXT, "getpid") != NULL && dlsym(RTLD_DEFAULT, "endings_none") == NULL;
    dlclose(handle);
    /* The module opens itself by its path, as some libraries do to find their data files or to pin themselves. */
    void *itself = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    int found = itself != NULL && dlsym(itself, "PyInit_endings") != NULL;
    if (itself != NULL) {
        dlclose(itself);
    }
    return Py_BuildValue("sNN", info.dli_fname, PyBool_FromLong(same), PyBool_FromLong(found));
}

static PyMethodDef methods[] = {
    {"tell", tell, METH_O, NULL},
    {"register", register_, METH_O, NULL},
    {"look_up", look_up, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "endings", NULL, 0, methods, slots};

PyMODINIT_FUNC
PyInit_endings(void)
{
    return PyModuleDef_Init(&definition);
}

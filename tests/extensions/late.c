/* With -DLIBRARY a library that starts a thread in its destructor, else the module `late`, whose function that thread
 * calls: once the descriptor LATE_GO is readable, the function writes a byte to LATE_DONE. */
#include <Python.h>

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef LIBRARY
static void (*callback)(void);
static int go;

void
late_register(void (*function)(void))
{
    callback = function;
    go = atoi(getenv("LATE_GO"));
}

static void *
thread_main(void *unused)
{
    char byte;
    if (read(go, &byte, 1) == 1) {
        callback();
    }
    return NULL;
}

__attribute__((destructor)) static void
end(void)
{
    pthread_t thread;
    if (callback != NULL && pthread_create(&thread, NULL, thread_main, NULL) == 0) {
        pthread_detach(thread);
    }
}
#else
void late_register(void (*function)(void));

static int done;

static void
answer(void)
{
    (void)!write(done, "d", 1);
}

static int
exec(PyObject *module)
{
    done = atoi(getenv("LATE_DONE"));
    late_register(answer);
    return 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, exec}, {0, NULL}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "late", NULL, 0, NULL, slots};

PyMODINIT_FUNC
PyInit_late(void)
{
    return PyModuleDef_Init(&definition);
}
#endif

/* Between the core and shim.c: what the functions of a worker's shim call. */
#ifndef OWNGIL_SHIM_H
#define OWNGIL_SHIM_H

#include "loader/copies.h"

struct owngil_worker;

/* std::thread::_M_start_thread(std::unique_ptr<std::thread::_State>, void (*)()) of libstdc++, as C sees it: the second
 * argument points at a pointer to an object, whose first word points at its class's table of virtual functions. */
#define OWNGIL_START_THREAD \
    "_ZNSt6thread15_M_start_threadESt10unique_ptrINS_6_StateESt14default_deleteIS1_EEPFvvE"
typedef void (*owngil_start_thread)(void *thread, void ***state, void (*depend)(void));

typedef struct {
    struct owngil_worker *worker;
    owngil_start_thread start_thread; /* libstdc++'s own */
    bool ended;                       /* the interpreter is no more */
    int (*ensure)(struct owngil_worker *worker);
    void (*release)(struct owngil_worker *worker, int state);
    int (*check)(struct owngil_worker *worker);
    void *(*lookup)(struct owngil_worker *worker, const char *name);
    void (*keep)(struct owngil_worker *worker, const void *address);
    int (*add_exit)(struct owngil_worker *worker, void (*function)(void));
    void (*add_key)(struct owngil_worker *worker, pthread_key_t key, const void *destroy);
    void (*remove_key)(struct owngil_worker *worker, pthread_key_t key);
    owngil_thread *(*new_thread)(owngil_thread thread);
    void (*drop_thread)(owngil_thread *thread);
    void *(*run_thread)(void *thread); /* these are in the core: the shim may be unloaded while they run */
    int (*run_c11_thread)(void *thread);
    void (*run_python_thread)(void *thread);
    void (*add_thread)(struct owngil_worker *worker, pthread_t thread);
} owngil_shim;

/* The names of the functions that copies call instead of those of Python, libc and libstdc++; the shim has each under
 * the same name with the prefix "owngil_shim_". */
#define OWNGIL_SHIM_FUNCTIONS(X) \
    X(PyGILState_Ensure) X(PyGILState_Release) X(PyGILState_Check) X(Py_AtExit) X(PySys_AddAuditHook) \
    X(Py_IsInitialized) X(Py_IsFinalizing) X(_Py_IsFinalizing) \
    X(PyThread_tss_create) X(PyThread_tss_delete) X(PyThread_tss_free) \
    X(PyThread_start_new_thread) X(PyMem_SetAllocator) X(PyObject_SetArenaAllocator) \
    X(timer_create) X(mq_notify) X(on_exit) \
    X(dlsym) X(thrd_create) X(tss_create) X(tss_delete) X(pthread_create) X(pthread_key_create) X(pthread_key_delete)

#endif

/* The interface between the core and shim.c: functions and data of the core that a worker's shim uses. */
#pragma once

#include "base/compat.h"
#include "loader/shim/pinning.h"
#include "loader/threads.h"

struct owngil_copies;

/* libstdc++'s std::thread::_M_start_thread(std::unique_ptr<std::thread::_State>, void (*)()), as C sees it: the second
 * argument points at a pointer to an object, whose first word points at the table of virtual functions of its class. */
#define OWNGIL_START_THREAD "_ZNSt6thread15_M_start_threadESt10unique_ptrINS_6_StateESt14default_deleteIS1_EEPFvvE"
typedef void (*owngil_start_thread)(void *thread, void ***state, void (*depend)(void));

/* Copies call these instead of PyGILState_Ensure(), _Release() and _Check(). `owner` is the owner of the copies. */
typedef struct {
    int (*ensure)(owngil_refcounted *owner);
    void (*release)(owngil_refcounted *owner, int state);
    int (*check)(owngil_refcounted *owner);
    bool (*hold)(
        owngil_refcounted *owner); /* keep the interpreter from ending until drop(); false: its end has begun */
    void (*drop)(owngil_refcounted *owner);
    void (*set_unloading)(bool unloading); /* whether the calling thread runs destructors of copies */
} owngil_guest_functions;

typedef struct {
    struct owngil_copies *copies;
    owngil_threads *threads;
    owngil_refcounted *owner;
    const owngil_guest_functions *guests;
    owngil_start_thread start_thread; /* libstdc++'s own */
    bool ended;                       /* the interpreter has ended */
    void *view;                       /* the PyInterpreterView; NULL before 3.15 */
    void *(*lookup)(struct owngil_copies *copies, void *handle, const char *name);
    const char *(*pin)(struct owngil_copies *copies, const void *address);
    int (*add_exit)(struct owngil_copies *copies, void (*function)(void));
    void (*add_key)(struct owngil_copies *copies, pthread_key_t key, const void *destroy);
    void (*remove_key)(struct owngil_copies *copies, pthread_key_t key);
    owngil_thread *(*new_thread)(owngil_thread thread);
    void (*drop_thread)(owngil_thread *thread);
    void *(*run_thread)(void *thread); /* these are in the core: the shim may be unloaded while they run */
    int (*run_c11_thread)(void *thread);
    void (*run_python_thread)(void *thread);
    void (*add_thread)(owngil_threads *threads, pthread_t thread, const char *library);
    void (*add_timer)(owngil_threads *threads, const char *library);
} owngil_shim;

/* The names of the functions that copies call instead of those of Python and libc, besides those in pinning.h; the shim
 * has each under the same name with the prefix "owngil_shim_". */
/* clang-format off */
#if OWNGIL_HAVE_INTERPRETER_GUARDS
#  define OWNGIL_SHIM_VIEWS(X) \
      X(PyInterpreterView_FromMain) X(PyInterpreterView_Close) X(PyInterpreterGuard_FromView) \
      X(PyThreadState_EnsureFromView)
#else
#  define OWNGIL_SHIM_VIEWS(X)
#endif
#define OWNGIL_SHIM_FUNCTIONS(X) \
    OWNGIL_SHIM_VIEWS(X) \
    X(PyGILState_Ensure) X(PyGILState_Release) X(PyGILState_Check) X(Py_AtExit) \
    X(PyTraceMalloc_Track) X(PyTraceMalloc_Untrack) X(Py_IsInitialized) X(Py_IsFinalizing) X(_Py_IsFinalizing) \
    X(PyThread_tss_create) X(PyThread_tss_delete) X(PyThread_tss_free) \
    X(PyThread_start_new_thread) \
    X(dlsym) X(thrd_create) X(tss_create) X(tss_delete) X(pthread_create) X(pthread_key_create) X(pthread_key_delete)
/* clang-format on */

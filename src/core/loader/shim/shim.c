/* What a worker's private copies call instead of some functions of Python and the C library.
 *
 * A library of its own, of which each worker has a private copy too: so these functions know whose they are, on
 * whatever thread they are called. PyGILState_Ensure() is the reason: CPython takes a thread that it has not seen for
 * one of the main interpreter's. The others note what must be undone, or forbids unloading, when the worker has ended.
 */
#include "loader/shim/interface.h"

#include "base/compat.h"

#include <dlfcn.h>
#include <mqueue.h>
#include <signal.h>
#include <stdlib.h>
#include <threads.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT owngil_shim owngil_shim_data; /* filled in by the core, in each copy */

EXPORT PyGILState_STATE
owngil_shim_PyGILState_Ensure(void)
{
    return (PyGILState_STATE)owngil_shim_data.guests->ensure(owngil_shim_data.owner);
}

EXPORT void
owngil_shim_PyGILState_Release(PyGILState_STATE state)
{
    owngil_shim_data.guests->release(owngil_shim_data.owner, (int)state);
}

EXPORT int
owngil_shim_PyGILState_Check(void)
{
    return owngil_shim_data.guests->check(owngil_shim_data.owner);
}

EXPORT int
owngil_shim_Py_IsInitialized(void)
{
    return !owngil_shim_data.ended && Py_IsInitialized();
}

EXPORT int
owngil_shim_Py_IsFinalizing(void)
{
    return owngil_shim_data.ended || owngil_compat_is_finalizing();
}

EXPORT int
owngil_shim__Py_IsFinalizing(void)
{
    return owngil_shim_Py_IsFinalizing();
}

EXPORT int
owngil_shim_Py_AtExit(void (*function)(void))
{
    return owngil_shim_data.add_exit(owngil_shim_data.copies, function);
}

EXPORT int
owngil_shim_PySys_AddAuditHook(Py_AuditHookFunction hook, void *data)
{
    owngil_shim_data.pin(owngil_shim_data.copies, (const void *)hook);
    return PySys_AddAuditHook(hook, data);
}

EXPORT int
owngil_shim_PyThread_tss_create(Py_tss_t *key)
{
    int was_there = PyThread_tss_is_created(key);
    int error = PyThread_tss_create(key);
    if (!was_there && error == 0) {
        owngil_shim_data.add_key(owngil_shim_data.copies, key->_key, NULL);
    }
    return error;
}

EXPORT void
owngil_shim_PyThread_tss_delete(Py_tss_t *key)
{
    if (PyThread_tss_is_created(key)) {
        owngil_shim_data.remove_key(owngil_shim_data.copies, key->_key);
    }
    PyThread_tss_delete(key);
}

EXPORT void
owngil_shim_PyThread_tss_free(Py_tss_t *key)
{
    if (key != NULL && PyThread_tss_is_created(key)) {
        owngil_shim_data.remove_key(owngil_shim_data.copies, key->_key);
    }
    PyThread_tss_free(key);
}

/* Whoever looks up a function by its name gets the same as those that are linked to it. The last call must be a jump:
 * dlsym() goes by the library that it returns to. */
EXPORT void *
owngil_shim_dlsym(void *handle, const char *name)
{
    void *function = owngil_shim_data.lookup(owngil_shim_data.copies, name);
    if (function != NULL) {
        return function;
    }
    return dlsym(handle, name);
}

/* What is called later, with nobody to ask whether it is still there. */

EXPORT void
owngil_shim_PyMem_SetAllocator(PyMemAllocatorDomain domain, PyMemAllocatorEx *allocator)
{
    owngil_shim_data.pin(owngil_shim_data.copies, (const void *)allocator->malloc);
    PyMem_SetAllocator(domain, allocator);
}

EXPORT void
owngil_shim_PyObject_SetArenaAllocator(PyObjectArenaAllocator *allocator)
{
    owngil_shim_data.pin(owngil_shim_data.copies, (const void *)allocator->alloc);
    PyObject_SetArenaAllocator(allocator);
}

static void
keep_event(const struct sigevent *event)
{
    if (event != NULL && event->sigev_notify == SIGEV_THREAD) {
        owngil_shim_data.pin(owngil_shim_data.copies, (const void *)event->sigev_notify_function);
    }
}

EXPORT int
owngil_shim_timer_create(clockid_t clock, struct sigevent *event, timer_t *timer)
{
    keep_event(event);
    return timer_create(clock, event, timer);
}

EXPORT int
owngil_shim_mq_notify(mqd_t queue, const struct sigevent *event)
{
    keep_event(event);
    return mq_notify(queue, event);
}

EXPORT int
owngil_shim_on_exit(void (*function)(int, void *), void *argument)
{
    owngil_shim_data.pin(owngil_shim_data.copies, (const void *)function);
    return on_exit(function, argument);
}

/* Pins the library of `start`, and completes `thread`. Returns NULL without memory. */
static owngil_thread *
new_thread(const void *start, owngil_thread thread)
{
    thread.library = owngil_shim_data.pin(owngil_shim_data.copies, start);
    thread.threads = owngil_shim_data.threads;
    thread.owner = owngil_shim_data.owner;
    return owngil_shim_data.new_thread(thread);
}

EXPORT unsigned long
owngil_shim_PyThread_start_new_thread(void (*start)(void *), void *argument)
{
    owngil_thread *thread =
        new_thread((const void *)start, (owngil_thread){.start_python = start, .argument = argument});
    if (thread == NULL) {
        return PYTHREAD_INVALID_THREAD_ID;
    }
    unsigned long ident = PyThread_start_new_thread(owngil_shim_data.run_python_thread, thread);
    if (ident == PYTHREAD_INVALID_THREAD_ID) {
        owngil_shim_data.drop_thread(thread);
    }
    return ident;
}

EXPORT int
owngil_shim_thrd_create(thrd_t *handle, thrd_start_t start, void *argument)
{
    owngil_thread *thread = new_thread((const void *)start, (owngil_thread){.start_c11 = start, .argument = argument});
    if (thread == NULL) {
        return thrd_nomem;
    }
    int error = thrd_create(handle, owngil_shim_data.run_c11_thread, thread);
    if (error != thrd_success) {
        owngil_shim_data.drop_thread(thread);
    }
    return error;
}

EXPORT int
owngil_shim_tss_create(tss_t *key, tss_dtor_t destroy)
{
    int error = tss_create(key, destroy);
    if (error == thrd_success) {
        owngil_shim_data.add_key(owngil_shim_data.copies, (pthread_key_t)*key, (const void *)destroy);
    }
    return error;
}

EXPORT void
owngil_shim_tss_delete(tss_t key)
{
    owngil_shim_data.remove_key(owngil_shim_data.copies, (pthread_key_t)key);
    tss_delete(key);
}

EXPORT int
owngil_shim_pthread_create(pthread_t *handle, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
    owngil_thread *thread = new_thread((const void *)start, (owngil_thread){.start = start, .argument = argument});
    if (thread == NULL) {
        return EAGAIN;
    }
    int error = pthread_create(handle, attributes, owngil_shim_data.run_thread, thread);
    if (error != 0) {
        owngil_shim_data.drop_thread(thread);
    }
    return error;
}

EXPORT int
owngil_shim_pthread_key_create(pthread_key_t *key, void (*destroy)(void *))
{
    int error = pthread_key_create(key, destroy);
    if (error == 0) {
        owngil_shim_data.add_key(owngil_shim_data.copies, *key, (const void *)destroy);
    }
    return error;
}

EXPORT int
owngil_shim_pthread_key_delete(pthread_key_t key)
{
    owngil_shim_data.remove_key(owngil_shim_data.copies, key);
    return pthread_key_delete(key);
}

EXPORT void
owngil_shim_start_thread(void *thread, void ***state, void (*depend)(void))
{
    const char *library = owngil_shim_data.pin(owngil_shim_data.copies, **state);
    owngil_shim_data.start_thread(thread, state, depend);
    /* A pthread_t is all that is in a std::thread. */
    owngil_shim_data.add_thread(owngil_shim_data.threads, *(pthread_t *)thread, library);
}

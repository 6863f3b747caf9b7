/* The shim: a worker's private copies call its functions instead of some functions of Python and the C library.
 *
 * The shim is a library, of which each worker has a private copy too: so these functions know their worker on whatever
 * thread they are called. PyGILState_Ensure() is the main reason: CPython attaches an unknown thread to the main
 * interpreter. The other functions record what must be undone when the worker has ended, or pin copies that can then
 * not be unloaded.
 */
#include "loader/shim/interface.h"

#include "base/compat.h"

#include <aio.h>
#include <dlfcn.h>
#include <mqueue.h>
#include <netdb.h>
#include <printf.h>
#include <search.h>
#include <signal.h>
#include <stdlib.h>
#include <syslog.h>
#include <threads.h>
#include <time.h>
#include <wchar.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT owngil_shim owngil_shim_data; /* filled in by the core, in each copy */

/* Pins the copy that `address` belongs to. Returns the path of its original, or NULL. */
static const char *
pin(const void *address)
{
    return owngil_shim_data.pin(owngil_shim_data.copies, address);
}

static void
pin_all(const void *const addresses[], size_t count)
{
    for (size_t k = 0; k < count; k++) {
        if (addresses[k] != NULL) {
            pin(addresses[k]);
        }
    }
}

static void
add_key(pthread_key_t key, const void *destroy)
{
    owngil_shim_data.add_key(owngil_shim_data.copies, key, destroy);
}

static void
remove_key(pthread_key_t key)
{
    owngil_shim_data.remove_key(owngil_shim_data.copies, key);
}

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
    return owngil_shim_data.ended || Py_IsFinalizing();
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
owngil_shim_PyThread_tss_create(Py_tss_t *key)
{
    int was_there = PyThread_tss_is_created(key);
    int error = PyThread_tss_create(key);
    if (!was_there && error == 0) {
        add_key(key->_key, NULL);
    }
    return error;
}

EXPORT void
owngil_shim_PyThread_tss_delete(Py_tss_t *key)
{
    if (PyThread_tss_is_created(key)) {
        remove_key(key->_key);
    }
    PyThread_tss_delete(key);
}

EXPORT void
owngil_shim_PyThread_tss_free(Py_tss_t *key)
{
    if (key != NULL && PyThread_tss_is_created(key)) {
        remove_key(key->_key);
    }
    PyThread_tss_free(key);
}

/* Finds by name the same function that a copy would be linked to. The call of dlsym() must be compiled to a jump:
 * dlsym() decides by the library that contains its return address. */
EXPORT void *
owngil_shim_dlsym(void *handle, const char *name)
{
    void *function = owngil_shim_data.lookup(owngil_shim_data.copies, handle, name);
    if (function != NULL) {
        return function;
    }
    return dlsym(handle, name);
}

/* Returns the function that the C library will call for the event, or NULL. */
static const void *
called(const struct sigevent *event)
{
    return event != NULL && event->sigev_notify == SIGEV_THREAD ? event->sigev_notify_function : NULL;
}

/* The addresses that a request for input or output keeps: its own, that of its buffer, and a function. */
#define REQUEST(request) request, (const void *)(request)->aio_buf, called(&(request)->aio_sigevent)

static const void *
pin_requests(struct aiocb *const list[], int count)
{
    for (int k = 0; k < count; k++) {
        if (list[k] != NULL) {
            pin_all((const void *[]){REQUEST(list[k])}, 3);
        }
    }
    return NULL;
}

static const void *
pin_lookups(struct gaicb *const list[], int count)
{
    for (int k = 0; k < count; k++) {
        if (list[k] != NULL) {
            pin_all((const void *[]){list[k], list[k]->ar_name, list[k]->ar_service, list[k]->ar_request}, 4);
        }
    }
    return NULL;
}

/* These have no header. NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
int __cxa_at_quick_exit(void (*function)(void *), void *library);
int __cxa_atexit(void (*function)(void *), void *argument, void *library);
int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *library);
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

/* Defines a function that pins copies and then does what the function `called_function` does. */
#define PIN_AND_CALL(called_function, name, type, parameters, arguments, ...) \
    EXPORT type owngil_shim_##name parameters \
    { \
        const void *const addresses[] = {__VA_ARGS__}; \
        pin_all(addresses, sizeof(addresses) / sizeof(addresses[0])); \
        return called_function arguments; \
    }
#define PIN_AND_CALL_LINKED(name, ...) PIN_AND_CALL(name, name, __VA_ARGS__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* register_printf_function() */
/* A copy may call setbuf(). NOLINTNEXTLINE(bugprone-unsafe-functions,cert-msc24-c,cert-msc33-c) */
OWNGIL_PINNING_FUNCTIONS(PIN_AND_CALL_LINKED)
#pragma GCC diagnostic pop

/* The core finds the functions of libstdc++ and libgcc, because the shim needs neither library. */
#define PIN_AND_CALL_FOUND(name, type, parameters, ...) \
    EXPORT type(*owngil_found_##name) parameters; \
    PIN_AND_CALL(owngil_found_##name, name, type, parameters, __VA_ARGS__)
OWNGIL_PINNING_RUNTIME_FUNCTIONS(PIN_AND_CALL_FOUND)

/* Pins the library of `start`, and completes `thread`. Returns NULL without memory. */
static owngil_thread *
new_thread(const void *start, owngil_thread thread)
{
    thread.library = pin(start);
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
        add_key((pthread_key_t)*key, (const void *)destroy);
    }
    return error;
}

EXPORT void
owngil_shim_tss_delete(tss_t key)
{
    remove_key((pthread_key_t)key);
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
        add_key(*key, (const void *)destroy);
    }
    return error;
}

EXPORT int
owngil_shim_pthread_key_delete(pthread_key_t key)
{
    remove_key(key);
    return pthread_key_delete(key);
}

EXPORT void
owngil_shim_start_thread(void *thread, void ***state, void (*depend)(void))
{
    const char *library = pin(**state);
    owngil_shim_data.start_thread(thread, state, depend);
    /* A std::thread contains a pthread_t and nothing else. */
    owngil_shim_data.add_thread(owngil_shim_data.threads, *(pthread_t *)thread, library);
}

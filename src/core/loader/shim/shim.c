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

#if OWNGIL_HAVE_INTERPRETER_GUARDS
/* Code that has no interpreter at hand asks for main's view. Its interpreter is the worker's. All callers get the same
 * view. */
EXPORT PyInterpreterView *
owngil_shim_PyInterpreterView_FromMain(void)
{
    return owngil_shim_data.view;
}

EXPORT void
owngil_shim_PyInterpreterView_Close(PyInterpreterView *view)
{
    if (view != owngil_shim_data.view) {
        PyInterpreterView_Close(view);
    }
}

/* A worker waits for guards before it stops its other threads. So no thread gets one afterwards, though CPython would let
 * it in until the end of the interpreter. */
#  define WITH_HOLD(type, name) \
      EXPORT type *owngil_shim_##name(PyInterpreterView *view) \
      { \
          if (!owngil_shim_data.guests->hold(owngil_shim_data.owner)) { \
              return NULL; \
          } \
          type *result = name(view); \
          owngil_shim_data.guests->drop(owngil_shim_data.owner); \
          return result; \
      }
WITH_HOLD(PyInterpreterGuard, PyInterpreterGuard_FromView)
WITH_HOLD(PyThreadStateToken, PyThreadState_EnsureFromView)
#endif

/* tracemalloc sees the main interpreter's memory only. -2 says that it does not trace. */
EXPORT int
owngil_shim_PyTraceMalloc_Track(unsigned int Py_UNUSED(domain), uintptr_t Py_UNUSED(address), size_t Py_UNUSED(size))
{
    return -2;
}

EXPORT int
owngil_shim_PyTraceMalloc_Untrack(unsigned int Py_UNUSED(domain), uintptr_t Py_UNUSED(address))
{
    return -2;
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

/* Returns the shim's function that copies call instead of the one called `name`, or NULL. */
__attribute__((used, visibility("hidden"))) void *
owngil_shim_find(void *handle, const char *name)
{
    return owngil_shim_data.lookup(owngil_shim_data.copies, handle, name);
}

/* void *owngil_shim_dlsym(void *handle, const char *name): finds by name the same function that a copy would be linked
 * to. dlsym() decides by the library that contains its return address, for RTLD_DEFAULT and RTLD_NEXT. So it must be
 * jumped to, and C does not say when a compiler does that. */
#if defined(__x86_64__)
/* NOLINTNEXTLINE(portability-no-assembler) */
__asm__(".pushsection .text\n"
        ".globl owngil_shim_dlsym\n"
        ".type owngil_shim_dlsym, @function\n"
        "owngil_shim_dlsym:\n"
        "    .cfi_startproc\n"
        "    endbr64\n"
        "    push %rdi\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    push %rsi\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    sub $8, %rsp\n" /* the stack's alignment */
        "    .cfi_adjust_cfa_offset 8\n"
        "    call owngil_shim_find\n"
        "    add $8, %rsp\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    pop %rsi\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    pop %rdi\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    test %rax, %rax\n"
        "    jz 1f\n"
        "    ret\n"
        "1:  jmp dlsym@PLT\n"
        "    .cfi_endproc\n"
        ".size owngil_shim_dlsym, .-owngil_shim_dlsym\n"
        ".popsection\n");
#elif defined(__aarch64__)
/* NOLINTNEXTLINE(portability-no-assembler) */
__asm__(".pushsection .text\n"
        ".globl owngil_shim_dlsym\n"
        ".type owngil_shim_dlsym, %function\n"
        "owngil_shim_dlsym:\n"
        "    .cfi_startproc\n"
        "    hint 34\n" /* bti c */
        "    stp x29, x30, [sp, -32]!\n"
        "    .cfi_adjust_cfa_offset 32\n"
        "    .cfi_offset x29, -32\n"
        "    .cfi_offset x30, -24\n"
        "    mov x29, sp\n"
        "    stp x0, x1, [sp, 16]\n"
        "    bl owngil_shim_find\n"
        "    mov x9, x0\n"
        "    ldp x0, x1, [sp, 16]\n"
        "    ldp x29, x30, [sp], 32\n"
        "    .cfi_adjust_cfa_offset -32\n"
        "    .cfi_restore x29\n"
        "    .cfi_restore x30\n"
        "    cbz x9, 1f\n"
        "    mov x0, x9\n"
        "    ret\n"
        "1:  b dlsym\n"
        "    .cfi_endproc\n"
        ".size owngil_shim_dlsym, .-owngil_shim_dlsym\n"
        ".popsection\n");
#else
#  error "owngil knows the jumps of x86-64 and aarch64 only"
#endif

/* Pins the library of the function that the C library calls for the event, and records that the C library may start a
 * thread for that at any time. Returns NULL. */
static const void *
keep_event(const struct sigevent *event)
{
    if (event != NULL && event->sigev_notify == SIGEV_THREAD) {
        const char *library = pin((const void *)event->sigev_notify_function);
        owngil_shim_data.add_timer(owngil_shim_data.threads, library);
    }
    return NULL;
}

/* The addresses that a request for input or output keeps: its own, that of its buffer, and what its event needs. */
#define REQUEST(request) request, (const void *)(request)->aio_buf, keep_event(&(request)->aio_sigevent)

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

/* The functions that keep what a copy passes to them, for longer than the worker lives.
 *
 * A copy that calls one is pinned, if the function or the memory that it passes belongs to a copy. All of them do: what
 * was registered cannot always be taken back, and the next that registers a function may call the one before.
 * tests/core/callbacks.py says of each function of Python and the C library that takes a function whether it is here.
 *
 * Each line: X(name, type, (parameters), (arguments), the addresses that are kept ...).
 */
#pragma once

#include "base/compat.h"

#if PY_VERSION_HEX >= 0x030D0000
#  define OWNGIL_PINNING_3_13(X) \
      X(PyRefTracer_SetTracer, int, (PyRefTracer tracer, void *data), (tracer, data), tracer, data)
#else
#  define OWNGIL_PINNING_3_13(X)
#endif

/* clang-format off */
#define OWNGIL_PINNING_FUNCTIONS(X) \
    OWNGIL_PINNING_3_13(X) \
    X(Py_AddPendingCall, int, (int (*function)(void *), void *argument), (function, argument), function, argument) \
    X(PyFile_SetOpenCodeHook, int, (Py_OpenCodeHookFunction hook, void *data), (hook, data), hook, data) \
    X(PyMem_SetAllocator, void, (PyMemAllocatorDomain domain, PyMemAllocatorEx *allocator), (domain, allocator), \
      allocator->malloc, allocator->ctx) \
    X(PyObject_SetArenaAllocator, void, (PyObjectArenaAllocator *allocator), (allocator), \
      allocator->alloc, allocator->ctx) \
    X(PySys_AddAuditHook, int, (Py_AuditHookFunction hook, void *data), (hook, data), hook, data) \
    /* A function that is registered with the handle of its library goes with the library. */ \
    X(__cxa_at_quick_exit, int, (void (*function)(void *), void *library), (function, library), \
      library == NULL ? function : NULL) \
    X(__cxa_atexit, int, (void (*function)(void *), void *argument, void *library), (function, argument, library), \
      library == NULL ? function : NULL) \
    X(__register_atfork, int, (void (*prepare)(void), void (*parent)(void), void (*child)(void), void *library), \
      (prepare, parent, child, library), library == NULL ? prepare : NULL, library == NULL ? parent : NULL, \
      library == NULL ? child : NULL) \
    X(on_exit, int, (void (*function)(int, void *), void *argument), (function, argument), function, argument) \
    X(mq_notify, int, (mqd_t queue, const struct sigevent *event), (queue, event), keep_event(event)) \
    X(timer_create, int, (clockid_t clock, struct sigevent *event, timer_t *timer), (clock, event, timer), \
      keep_event(event)) \
    X(aio_fsync, int, (int how, struct aiocb *request), (how, request), REQUEST(request)) \
    X(aio_fsync64, int, (int how, struct aiocb64 *request), (how, request), REQUEST(request)) \
    X(aio_read, int, (struct aiocb *request), (request), REQUEST(request)) \
    X(aio_read64, int, (struct aiocb64 *request), (request), REQUEST(request)) \
    X(aio_write, int, (struct aiocb *request), (request), REQUEST(request)) \
    X(aio_write64, int, (struct aiocb64 *request), (request), REQUEST(request)) \
    X(lio_listio, int, (int mode, struct aiocb *const list[], int count, struct sigevent *event), \
      (mode, list, count, event), keep_event(event), pin_requests(list, count)) \
    X(lio_listio64, int, (int mode, struct aiocb64 *const list[], int count, struct sigevent *event), \
      (mode, list, count, event), keep_event(event), pin_requests((struct aiocb *const *)list, count)) \
    X(getaddrinfo_a, int, (int mode, struct gaicb *list[], int count, struct sigevent *event), \
      (mode, list, count, event), keep_event(event), pin_lookups(list, count)) \
    X(register_printf_function, int, (int letter, printf_function print, printf_arginfo_function describe), \
      (letter, print, describe), print, describe) \
    X(register_printf_specifier, int, (int letter, printf_function print, printf_arginfo_size_function describe), \
      (letter, print, describe), print, describe) \
    X(register_printf_type, int, (printf_va_arg_function take), (take), take) \
    /* The C library writes what is left in open files at the end of the process. */ \
    X(fmemopen, FILE *, (void *buffer, size_t size, const char *mode), (buffer, size, mode), buffer) \
    X(fopencookie, FILE *, (void *cookie, const char *mode, cookie_io_functions_t functions), \
      (cookie, mode, functions), cookie, functions.read, functions.write, functions.seek, functions.close) \
    X(open_memstream, FILE *, (char **buffer, size_t *size), (buffer, size), buffer, size) \
    X(open_wmemstream, FILE *, (wchar_t **buffer, size_t *size), (buffer, size), buffer, size) \
    X(setbuf, void, (FILE *file, char *buffer), (file, buffer), buffer) \
    X(setbuffer, void, (FILE *file, char *buffer, size_t size), (file, buffer, size), buffer) \
    X(setvbuf, int, (FILE *file, char *buffer, int mode, size_t size), (file, buffer, mode, size), buffer) \
    X(hsearch, ENTRY *, (ENTRY item, ACTION action), (item, action), item.key, item.data) \
    X(openlog, void, (const char *program, int options, int facility), (program, options, facility), program) \
    X(putenv, int, (char *assignment), (assignment), assignment) \
    X(sigaltstack, int, (const stack_t *stack, stack_t *old), (stack, old), stack != NULL ? stack->ss_sp : NULL)

/* Those of libstdc++ and libgcc, by the names that the compiler gives them: set_terminate(), set_unexpected(),
 * set_new_handler() and pmr::set_default_resource() of namespace std; and what tells the unwinder about code that was
 * made at run time. */
#define OWNGIL_PINNING_RUNTIME_FUNCTIONS(X) \
    X(_ZSt13set_terminatePFvvE, void *, (void *function), (function), function) \
    X(_ZSt14set_unexpectedPFvvE, void *, (void *function), (function), function) \
    X(_ZSt15set_new_handlerPFvvE, void *, (void *function), (function), function) \
    X(_ZNSt3pmr20set_default_resourceEPNS_15memory_resourceE, void *, (void **resource), (resource), \
      resource, resource != NULL ? *resource : NULL) \
    X(__register_frame, void, (void *frames), (frames), frames) \
    X(__register_frame_info, void, (const void *frames, void *object), (frames, object), frames, object) \
    X(__register_frame_info_bases, void, (const void *frames, void *object, void *text, void *data), \
      (frames, object, text, data), frames, object) \
    X(__register_frame_table, void, (void *frames), (frames), frames) \
    X(__register_frame_info_table, void, (void *frames, void *object), (frames, object), frames, object) \
    X(__register_frame_info_table_bases, void, (void *frames, void *object, void *text, void *data), \
      (frames, object, text, data), frames, object)
/* clang-format on */

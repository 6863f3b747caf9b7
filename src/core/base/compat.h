/* Every difference between Python and C library versions, and nothing else.
 *
 * Supported: CPython 3.12 to 3.15 with the GIL, Linux with glibc.
 */
#ifndef OWNGIL_COMPAT_H
#define OWNGIL_COMPAT_H

#ifndef _GNU_SOURCE
#  error "compile with -D_GNU_SOURCE"
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <semaphore.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if PY_VERSION_HEX < 0x030C0000
#  error "owngil needs Python 3.12 or newer"
#endif
#ifdef Py_GIL_DISABLED
#  error "owngil does not support free-threaded builds of Python: they have no GIL to own"
#endif
#if !defined(__linux__) || !defined(__GLIBC__)
#  error "owngil supports Linux with glibc only"
#endif

/* 3.15 lets an extension export its slots (PEP 793) instead of an init function. */
#if PY_VERSION_HEX >= 0x030F0000
#  define OWNGIL_HAVE_MODEXPORT 1
#else
#  define OWNGIL_HAVE_MODEXPORT 0
#endif

#if PY_VERSION_HEX < 0x030D0000
#  define PyLong_AsInt _PyLong_AsInt
#endif

/* Lets a processor that waits in a loop do so at its ease. */
static inline void
owngil_compat_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* Whether this is the thread that signals for the whole process arrive in: the first one, or the one that forked. The C
 * library has gettid() since glibc 2.30. */
static inline bool
owngil_compat_is_main_thread(void)
{
    return syscall(SYS_gettid) == getpid();
}

/* The calling thread's current thread state, or NULL. */
static inline PyThreadState *
owngil_compat_current_tstate(void)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyThreadState_GetUnchecked();
#else
    return _PyThreadState_UncheckedGet();
#endif
}

/* Whether all interpreters share the type: one of Python's own static ones (_Py_TPFLAGS_STATIC_BUILTIN). */
static inline bool
owngil_compat_is_shared_type(PyTypeObject *type)
{
    return (PyType_GetFlags(type) & (1UL << 1)) != 0;
}

/* Whether the type has a version tag. */
static inline bool
owngil_compat_has_version(PyTypeObject *type)
{
#if PY_VERSION_HEX >= 0x030D0000
    return type->tp_version_tag != 0;
#else
    return PyType_HasFeature(type, Py_TPFLAGS_VALID_VERSION_TAG);
#endif
}

/* Whether a new interpreter on a thread without a thread state would deadlock: what tracemalloc does at the first
 * allocation takes the lock under which CPython makes interpreters. */
static inline int
owngil_compat_tracemalloc_hangs(void)
{
#if PY_VERSION_HEX >= 0x030F0000
    return 0;
#else
    return PyTraceMalloc_Untrack(0, 0) != -2; /* that is: not tracing */
#endif
}

static inline int
owngil_compat_is_finalizing(void)
{
#if PY_VERSION_HEX >= 0x030D0000
    return Py_IsFinalizing();
#else
    return _Py_IsFinalizing();
#endif
}

/* sem_clockwait came with glibc 2.30, and the thread sanitizer knows nothing of it. Without it, a semaphore can only wait on the wall clock: the time left
 * is right when the wait begins, and a clock that is set meanwhile stretches or shortens that one wait. */
static inline int
owngil_compat_sem_wait_until(sem_t *sem, const struct timespec *monotonic)
{
#if __GLIBC_PREREQ(2, 30) && !defined(__SANITIZE_THREAD__)
    return sem_clockwait(sem, CLOCK_MONOTONIC, monotonic);
#else
    struct timespec now, wall;
    clock_gettime(CLOCK_MONOTONIC, &now);
    clock_gettime(CLOCK_REALTIME, &wall);
    wall.tv_sec += monotonic->tv_sec - now.tv_sec;
    wall.tv_nsec += monotonic->tv_nsec - now.tv_nsec;
    if (wall.tv_nsec < 0) {
        wall.tv_nsec += 1000000000L;
        wall.tv_sec -= 1;
    }
    else if (wall.tv_nsec >= 1000000000L) {
        wall.tv_nsec -= 1000000000L;
        wall.tv_sec += 1;
    }
    return sem_timedwait(sem, &wall);
#endif
}

#endif

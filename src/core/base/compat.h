/* Hides the differences between versions of Python.
 *
 * Supported: CPython 3.12 to 3.15 with the GIL, Linux with glibc.
 */
#pragma once

#ifndef _GNU_SOURCE
#  error "compile with -D_GNU_SOURCE"
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

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

/* 3.15 has views and guards of interpreters, by which threads from outside enter (PEP 788). */
#if PY_VERSION_HEX >= 0x030F0000
#  define OWNGIL_HAVE_INTERPRETER_GUARDS 1
#else
#  define OWNGIL_HAVE_INTERPRETER_GUARDS 0
#endif

#if PY_VERSION_HEX < 0x030D0000
#  define PyLong_AsInt _PyLong_AsInt
#  define PyThreadState_GetUnchecked _PyThreadState_UncheckedGet
#  define Py_IsFinalizing _Py_IsFinalizing
#endif

/* The flag of types that all interpreters share: Python's own static types. CPython's name for it may be hidden. */
#define OWNGIL_SHARED_TYPE (1UL << 1)
#ifdef _Py_TPFLAGS_STATIC_BUILTIN
_Static_assert(_Py_TPFLAGS_STATIC_BUILTIN == OWNGIL_SHARED_TYPE, "CPython's flag of shared types is another bit");
#endif

static inline bool
owngil_compat_is_shared_type(PyTypeObject *type)
{
    return (PyType_GetFlags(type) & OWNGIL_SHARED_TYPE) != 0;
}

static inline bool
owngil_compat_has_version(PyTypeObject *type)
{
#if PY_VERSION_HEX >= 0x030D0000
    return type->tp_version_tag != 0;
#else
    return PyType_HasFeature(type, Py_TPFLAGS_VALID_VERSION_TAG);
#endif
}

/* Turns a status or an errno into an exception, in this one place. All functions need the GIL. */
#pragma once

#include "base/compat.h"
#include "base/status.h"

/* Sets the exception for `code`, which is neither OK nor INTERRUPTED; `closed` is the class for CLOSED (borrowed).
 * Returns NULL. */
PyObject *owngil_raise_status(owngil_status code, PyObject *closed);

/* Returns NULL with OSError set for an errno, or None if it is 0. */
PyObject *owngil_raise_errno(int error);

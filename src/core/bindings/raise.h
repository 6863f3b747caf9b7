/* The one place that turns a status into an exception. */
#pragma once

#include "base/compat.h"
#include "base/status.h"

/* Sets the exception for `code`, which is neither OK nor INTERRUPTED; `closed` is the class for CLOSED (borrowed). Returns
 * NULL. Needs the GIL. */
PyObject *owngil_raise_status(owngil_status code, PyObject *closed);

/* Returns NULL with OSError set for an errno; or None if that is 0. Needs the GIL. */
PyObject *owngil_raise_errno(int error);

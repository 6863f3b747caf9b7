/* Lets one thread of the process at a time search the system's lists of users, groups, services and protocols.
 *
 * The C library returns what it finds in memory of its own, and each call overwrites it. CPython relies on its GIL there,
 * but each worker has a GIL of its own: two that called pwd.getpwall() at once got half of the users each, or crashed.
 * All interpreters share the table in which a module of Python's keeps the addresses of its functions. So the guard
 * replaces an address in there, and also guards the calls of the main interpreter.
 */
#pragma once

#include "base/atfork.h"
#include "base/compat.h"

/* Guards the functions of this module that search such a list; later calls do nothing. Returns 0, or -1 with an
 * exception. Needs the GIL of the module's interpreter. */
int owngil_lookups_guard(PyObject *module);

void owngil_lookups_atfork(owngil_atfork_step step);

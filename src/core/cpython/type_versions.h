/* Gives types versions that no other type of their interpreter has.
 *
 * CPython's caches of attributes, and bytecode that is specialized on a type, know a type by its "version tag", a
 * number that the type gets at the first lookup of an attribute. Mutable classes get theirs from a counter of their
 * interpreter, immutable types (of extension modules, for instance) from a counter of the process. 3.12 and 3.13
 * increment the latter under each interpreter's own GIL, without a lock: a thread that the system suspends between
 * reading and writing sets the counter back for all others. Two types of one interpreter then have the same version,
 * and a method of one is called for the other: on a busy machine, one worker in 1,400 on 3.12 had such a pair. (3.14
 * counts atomically; gh-129824.) And in all versions the numbers are exhausted after some thousand workers: from then
 * on CPython caches nothing for immutable types.
 *
 * So before 3.14, types that all interpreters share get their versions first. Then the process's counter is exhausted
 * on purpose: CPython never writes it again, which removes the race. In all versions, once that counter is exhausted,
 * immutable types get versions from their interpreter's own counter, here.
 */
#pragma once

#include "base/compat.h"

/* Checks that the flag of types that interpreters share is where it is expected: the type of Ellipsis has it, and `own`, a class of the
 * calling interpreter, has not. If it is not, then since 3.14 the functions below do nothing. Returns whether it is.
 * Needs the GIL of the main interpreter. */
bool owngil_type_versions_check(PyTypeObject *own);

/* Before 3.14, gives versions to all types that interpreters share, and exhausts the process's counter. Needs the GIL
 * of the main interpreter, before there is another. Returns -1 with an exception. */
int owngil_type_versions_exhaust_shared(void);

/* After that, the next two give versions to immutable types of the calling interpreter without one. They need its
 * GIL. */

/* Gives versions to types in the module and to the types of the objects in it. Call it when the module is imported. */
void owngil_type_versions_give(PyObject *module);

/* Gives versions to all types, also those that are in no module, or that a module changed after they had a version.
 * Does nothing if CPython still gives versions, or if the number of modules is `*known`. Otherwise `*known` becomes
 * that number. Returns -1 with an exception. */
int owngil_type_versions_complete(Py_ssize_t *known);

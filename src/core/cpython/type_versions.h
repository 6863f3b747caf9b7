/* Gives types versions that no other type of their interpreter has.
 *
 * CPython's caches of attributes, and bytecode that is specialized on a type, know a type by its "version tag", a number
 * that it gets at the first look for an attribute. Classes that can be changed get theirs from a counter of their
 * interpreter. Immutable types, those of extension modules for instance, get theirs from one of the process. 3.12 and 3.13
 * count it up under each interpreter's own GIL, without a lock: a thread that the system suspends between reading and
 * writing sets it back for all others. Two types of one interpreter then have the same version, and a method of the one is
 * called for the other: on a busy machine, one worker in 1,400 on 3.12 had such a pair. (3.14 counts atomically; gh-129824.)
 * And in all versions the numbers end after some thousand workers: from then on nothing is cached for immutable types.
 *
 * Hence, before 3.14: what all interpreters share gets its versions first, then the process's counter is brought to its
 * end, at which CPython only reads it. In all versions: once it has ended, immutable types get versions of their
 * interpreter's own counter, here.
 */
#pragma once

#include "base/compat.h"

/* Before 3.14, gives versions to all types that interpreters share, and ends the counter of the process. Needs the GIL of the main
 * interpreter, before there is another. Returns -1 with an exception. */
int owngil_type_versions_end_shared(void);

/* After that, these give versions to immutable types of the calling interpreter that have none, and need its GIL. */

/* To those in the module, and of the objects in it: at once, when it is imported. */
void owngil_type_versions_give(PyObject *module);

/* To all, also those that are in no module, or that a module changed when they had one: if CPython gives none any more,
 * and the number of modules is not `known`, which becomes it. Returns -1 with an exception. */
int owngil_type_versions_complete(Py_ssize_t *known);

/* The structs with which C functions of the standard library parse their keywords, and which all interpreters share.
 *
 * CPython has a list of these static _PyArg_Parser structs and walks it at exit.
 *  - In 3.12.0 to 3.12.3 (gh-119213), the first call fills in a tuple of keyword names that it allocates in the calling
 *    interpreter. When that interpreter ends, the struct keeps a dangling pointer: the next call from elsewhere reads
 *    freed memory, and at exit CPython frees it again.
 *  - A private copy has structs of its own (_ctypes does), which must leave the list before the copy is unloaded.
 */
#pragma once

#include "base/atfork.h"
#include "base/compat.h"
#include <stdbool.h>

/* Checks that a new struct becomes the head of CPython's list, and leads to the one before. Returns whether it does. If
 * not, the list keeps its structs, and owngil_keyword_parsers_forget() returns false from then on. Needs the GIL of the
 * main interpreter, sets no exception. */
bool owngil_keyword_parsers_check(void);

/* On 3.12.0 to 3.12.3, replaces the tuples of all structs by tuples that belong to no interpreter. Needs the GIL, sets
 * no exception. */
void owngil_keyword_parsers_release(void);

/* Removes the structs for whose address is_unloadable() returns true from the list. Returns false when there is no
 * memory for that, or when the list is not as expected. Needs the GIL, sets no exception. */
bool owngil_keyword_parsers_forget(bool (*is_unloadable)(const void *context, const void *address),
                                   const void *context);

void owngil_keyword_parsers_atfork(owngil_atfork_step step);

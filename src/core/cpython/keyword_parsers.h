/* The structs with which C functions of the standard library parse their keywords, which all interpreters share.
 *
 * CPython has a list of these static _PyArg_Parser structs, which it walks at exit.
 *  - In 3.12.0 to 3.12.3 (gh-119213), the first call fills in a tuple of keyword names that it allocates in the calling
 *    interpreter. When that ends, the struct keeps a dangling pointer: the next call from elsewhere reads freed memory,
 *    and the process's exit frees it again.
 *  - A private copy has structs of its own (_ctypes does), which must leave the list before the copy is unloaded.
 */
#pragma once

#include "base/atfork.h"
#include "base/compat.h"
#include <stdbool.h>

/* Replaces all tuples of the first kind by copies that belong to no interpreter. Needs the GIL, sets no exception. */
void owngil_keyword_parsers_release(void);

/* Takes the structs for whose address goes() says so out of the list. Returns false when there is no memory for that. Needs the
 * GIL, sets no exception. */
bool owngil_keyword_parsers_forget(bool (*goes)(const void *context, const void *address), const void *context);

void owngil_keyword_parsers_atfork(owngil_atfork_step step);

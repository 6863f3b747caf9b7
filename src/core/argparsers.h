/* Mends gh-119213 on Python 3.12.0 to 3.12.3; does nothing on others.
 *
 * The C functions of the standard library parse their keywords with static _PyArg_Parser structs that all interpreters
 * share. In those versions, the first call fills in a tuple of keyword names that it allocates in the calling
 * interpreter. When that ends, the struct keeps a dangling pointer: the next call from elsewhere reads freed memory,
 * and the process's exit frees it again.
 */
#ifndef OWNGIL_ARGPARSERS_H
#define OWNGIL_ARGPARSERS_H

#include "compat.h"

/* Replaces all such tuples by copies that belong to no interpreter. For a worker to call as late as it can; needs the
 * GIL, sets no exception. */
void owngil_argparsers_release(void);

#endif

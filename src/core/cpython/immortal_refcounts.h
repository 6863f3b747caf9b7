/* Protects None, small ints and the like from extension modules that were built for the stable ABI of
 * Python 3.11 or older.
 *
 * Interpreters share the objects that are never freed. Those modules change the reference counts of these objects all
 * the same, as one number of 64 bits. CPython before 3.14 takes an object for immortal if the lower 32 bits are all
 * ones, and otherwise changes only these bits. Under one GIL that goes well. Under several, the two kinds of writes can
 * combine to a count of 1, and None is freed a moment later. So this sets the upper bits: then no mix of the two writes
 * comes near zero. Source: PEP 683 ("Accidental De-Immortalizing"); gh-125174 changed the numbers for 3.14.
 */
#pragma once

#include <stdbool.h>

/* Returns whether CPython leaves the reference counts of the objects that interpreters share alone. Needs the GIL. */
bool owngil_immortal_refcounts_check(void);

/* Protects them. Call it once. Needs the GIL of the main interpreter. Returns -1 with an exception. */
int owngil_immortal_refcounts_protect(void);

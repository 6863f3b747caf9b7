/* Protects None, small ints and the like from extension modules with the stable ABI of before Python 3.12.
 *
 * Interpreters share the objects that are never freed. Those modules change their reference counts all the same, as one
 * number of 64 bits; CPython before 3.14 takes an object for immortal whose lower 32 bits are all ones, and otherwise
 * changes only these. Under one GIL that goes well. Under several, the two kinds of writes can meet such that 1 is left
 * of the count, and None is freed a moment later. With upper bits that are not zero, no such meeting brings the count
 * near zero. Source: PEP 683 ("Accidental De-Immortalizing"); gh-125174 changed the numbers for 3.14.
 */
#pragma once

/* Once is enough. Needs the GIL of the main interpreter. Returns -1 with an exception. */
int owngil_immortal_refcounts_protect(void);

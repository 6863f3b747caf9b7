/* Checks the tables that the dynamic loader follows without a look at their limits: damaged ones end the process.
 *
 * Sources: System V gABI, chapter 5; glibc's elf/dl-version.c, elf/dl-lookup.c, elf/do-rel.h and
 * sysdeps/<machine>/dl-machine.h. The tables must be in the library, and numbers in them within the tables that they
 * count in. Names, addresses of functions and values of symbols may still be any.
 */
#pragma once

#include "loader/elf/image.h"

/* Returns NULL, or a (static) sentence that says why the library cannot be loaded. */
const char *owngil_checks_run(const owngil_image *image);

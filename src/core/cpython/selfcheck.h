/* Checks at import that this Python is one that owngil knows: its version, and what the core relies on beyond the
 * documented C API.
 *
 * Where an expectation does not hold and owngil would corrupt data or crash, the import fails with one sentence. Where
 * only memory or speed is lost, owngil does without, and `owngil doctor` says so.
 */
#pragma once

#include "base/compat.h"

/* Checks all. `module` is owngil._core, whose spec has a class of the calling interpreter. Returns 0, or -1 with
 * ImportError. Needs the GIL of the main interpreter, before there is a worker. */
int owngil_selfcheck_run(PyObject *module);

/* Records that owngil does without something. `sentence` is static: what that costs, and why. Call it after
 * owngil_selfcheck_run(), with the same GIL. */
void owngil_selfcheck_do_without(const char *sentence);

/* Returns a sentence on the `k`-th thing that owngil does without, or NULL: there are no more. */
const char *owngil_selfcheck_missing(size_t k);

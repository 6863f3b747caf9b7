/* PyGILState_Ensure(), _Release() and _Check() as a worker's private copies call them.
 *
 * CPython's own attach a thread that has no thread state yet to the main interpreter. These attach it to the worker's.
 * A thread of the worker's interpreter gets CPython's behaviour. When the interpreter has begun to end, a thread that
 * comes in from outside never returns, as CPython does it at its own end.
 */
#ifndef OWNGIL_GILSTATE_H
#define OWNGIL_GILSTATE_H

#include <stdbool.h>

struct owngil_worker;

int owngil_gilstate_ensure(struct owngil_worker *worker);
void owngil_gilstate_release(struct owngil_worker *worker, int state);
int owngil_gilstate_check(struct owngil_worker *worker);

/* While a thread unloads copies, their destructors find no interpreter, and do not wait for one. */
void owngil_gilstate_set_unloading(bool value);

#endif

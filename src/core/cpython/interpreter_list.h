/* Removes interpreters from CPython's list of them in the child of a fork.
 *
 * CPython's own handler (PyOS_AfterFork_Child) deletes all interpreters but the main one, without their GILs and thread
 * states, and crashes. So they must leave the list before. Their memory stays, unused.
 *
 * The list is private to CPython, and no public function changes it. It is in _PyRuntime: two adjacent pointers, to the
 * newest interpreter and to the main one. CPython's own table for debuggers (3.13 and later) has its offset. In 3.12
 * there must be exactly one such pair.
 */
#pragma once

#include <stdbool.h>

/* Finds the list. Returns whether its place is certain. Needs the GIL of the main interpreter. */
bool owngil_interpreter_list_find(void);

/* Removes all interpreters but the main one from the list, if it was found. Call it in the child of a fork, where no
 * other thread runs. */
void owngil_interpreter_list_forget(void);

/* Removes interpreters from CPython's list of them in the child of a fork.
 *
 * CPython's own handler (PyOS_AfterFork_Child) deletes all interpreters but the main one, without their GILs and thread
 * states, and crashes. So they must leave the list before. Their memory stays, unused.
 *
 * The list is private to CPython, and no public function changes it. Its place in _PyRuntime is found at run time: by
 * two adjacent pointers, to the newest interpreter and to the main one, of which there must be exactly one pair. If
 * there is not, or if CPython's own table for debuggers (3.13 and later) has another offset, the list does not change.
 */
#pragma once

/* Removes all interpreters but the main one from the list. Call it in the child of a fork, where no other thread
 * runs. */
void owngil_interpreter_list_forget(void);

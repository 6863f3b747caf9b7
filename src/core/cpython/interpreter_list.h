/* CPython's list of interpreters, in the child of a fork.
 *
 * CPython's own handler (PyOS_AfterFork_Child) deletes all interpreters but the main one, without their GILs and thread
 * states, and crashes. So they leave the list before: their memory stays, unused.
 *
 * The list is CPython's private matter, and nothing public changes it. Where it is in _PyRuntime is found at run time: by
 * two pointers side by side, to the newest interpreter and to the main one, of which there must be just one pair. If there is
 * not, or CPython's own table for debuggers (3.13 and later) has another offset, the list stays as it is.
 */
#pragma once

/* Lets CPython know of the main interpreter only. For the child of a fork, where no other thread runs. */
void owngil_interpreter_list_forget(void);

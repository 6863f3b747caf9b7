/* Pauses all workers for a moment, for functions of CPython that change or walk what all interpreters use without a lock.
 *
 * A paused worker runs no Python code and allocates no Python memory: a helper thread has its GIL. Its C code without
 * the GIL goes on. No worker starts or ends meanwhile.
 */
#pragma once

#include "base/atfork.h"

/* Pauses all workers; waits for those that are in C code with the GIL. Returns 0 or an errno. Call it in the main
 * interpreter, without a GIL. */
int owngil_pause_begin(void);
void owngil_pause_end(void);

/* Keeps the thread states of the main interpreter in its list while a thread with its GIL walks that list: no worker
 * starts, ends or creates an extension module between these two, and all else goes on. begin() returns 0 or an errno.
 * Call it in the main interpreter, without a GIL. */
int owngil_pause_changes_begin(void);
void owngil_pause_changes_end(void);

/* A worker's thread makes and ends its interpreter between these two, and creates extension modules. They may be
 * nested. Call the first without a GIL, or before there is one. */
void owngil_pause_keep_out(void);
void owngil_pause_let_in(void);

/* Lets the calling interpreter create extension modules between those two. Since 3.13, CPython calls their init
 * functions in the main interpreter with a thread state that it frees without the main interpreter's GIL
 * (switch_back_from_main_interpreter() in import.c). Needs the GIL. Returns -1 with an exception. */
int owngil_pause_guard_imports(void);

/* The child of a fork has no workers. */
void owngil_pause_atfork(owngil_atfork_step step);

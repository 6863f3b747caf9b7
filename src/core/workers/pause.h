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

/* A worker's thread makes and ends its interpreter between these two. Call them without a GIL, or before there is
 * one. */
void owngil_pause_keep_out(void);
void owngil_pause_let_in(void);

/* The child of a fork has no workers. */
void owngil_pause_atfork(owngil_atfork_step step);

/* The life of a worker, from the start of its thread to the release of its memory.
 *
 * One thread makes, uses and ends the interpreter, with one thread state: on 3.12 threading's shutdown hangs otherwise.
 */
#pragma once

#include "workers/worker.h"

/* Starts a worker's thread, which runs `bootstrap` in the new interpreter. Takes references of its own to `setup`,
 * `tasks` and `replies`. Returns NULL with *error an errno when there is no memory or no thread. Needs no GIL. */
owngil_worker *owngil_life_start(const char *name, uint64_t number, const char *bootstrap, owngil_message *setup,
                                 owngil_queue *tasks, owngil_queue *replies, int *error);

/* Waits until the thread is gone, soon after EXITED. Then unloads the worker's private copies and frees the memory that
 * its interpreter left, unless a thread that a private copy started still lives: it may use that memory, which a later
 * join frees when the thread has ended. Returns NULL, or the path of the library that started that thread, "" if it is
 * not known. Needs a GIL, of any interpreter but the worker's, and releases it meanwhile. */
const char *owngil_life_join(owngil_worker *self);

/* The child frees no memory of the parent's workers. */
void owngil_life_atfork(owngil_atfork_step step);

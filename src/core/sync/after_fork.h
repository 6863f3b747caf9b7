/* What becomes of locks and their kin in a forked child, which has none of the other threads. */
#pragma once

#include "base/atfork.h"
#include "base/refcount.h"
#include "sync/waiter.h"

#include <stdint.h>

/* Locks the mutex of an event, a semaphore or a barrier. In a forked child another thread may have held that mutex, and
 * none of the waiters is there: the first caller makes mutex and list anew, and calls `restore`, if that is not NULL,
 * before any thread uses the object. */
void owngil_after_fork_lock(owngil_refcounted *self, pthread_mutex_t *lock, owngil_waiters *waiters,
                            void (*restore)(owngil_refcounted *));

/* A number that tells the calling thread from all others; and whether that thread is in this process, or was left behind
 * by a fork. */
uint64_t owngil_after_fork_this_thread(void);
bool owngil_after_fork_has_thread(uint64_t thread);

void owngil_after_fork_atfork(owngil_atfork_step step);

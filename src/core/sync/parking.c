#include "sync/parking.h"

static _Thread_local owngil_parking *lot; /* the calling thread's; NULL unless a worker owns the thread */

void
owngil_parking_init(owngil_parking *self)
{
    *self = (owngil_parking){.blocking = false};
    pthread_mutex_init(&self->lock, NULL);
}

void
owngil_parking_clear(owngil_parking *self)
{
    owngil_refcount_release(self->loop);
    pthread_mutex_destroy(&self->lock);
}

void
owngil_parking_adopt(owngil_parking *self)
{
    lot = self;
}

/* Sets the waiter that an interrupt wakes, and returns true if no interrupt has come so far. */
static bool
set_waiter(owngil_waiter *waiter)
{
    pthread_mutex_lock(&lot->lock);
    lot->waiter = waiter;
    bool interrupted = lot->interrupted;
    pthread_mutex_unlock(&lot->lock);
    return !interrupted;
}

owngil_status
owngil_parking_block(owngil_waiter *waiter, owngil_deadline deadline)
{
    if (lot == NULL) {
        return owngil_waiter_block(waiter, deadline);
    }
    owngil_status code = OWNGIL_INTERRUPTED;
    if (set_waiter(waiter)) {
        /* Only workers spin here: in other threads a signal that came meanwhile would not end the wait. */
        code = owngil_waiter_spin(waiter) == OWNGIL_SPIN_SERVED ? OWNGIL_OK : owngil_waiter_block(waiter, deadline);
    }
    return set_waiter(NULL) ? code : OWNGIL_INTERRUPTED; /* an interrupt may have woken the waiter */
}

owngil_status
owngil_parking_wait_in_line(owngil_waiters *list, owngil_waiter *waiter, pthread_mutex_t *lock,
                            owngil_deadline deadline)
{
    owngil_waiters_add(list, waiter);
    pthread_mutex_unlock(lock);
    owngil_status code = owngil_parking_block(waiter, deadline);
    if (code != OWNGIL_OK) {
        pthread_mutex_lock(lock);
        if (!waiter->done) {
            owngil_waiters_remove(list, waiter);
        }
        pthread_mutex_unlock(lock);
    }
    owngil_waiter_clear(waiter);
    return waiter->done ? waiter->code : code;
}

void
owngil_parking_begin(void)
{
    if (lot != NULL) {
        pthread_mutex_lock(&lot->lock);
        lot->blocking = true;
        pthread_mutex_unlock(&lot->lock);
    }
}

bool
owngil_parking_end(void)
{
    bool interrupted = false;
    if (lot != NULL) {
        pthread_mutex_lock(&lot->lock);
        interrupted = lot->interrupted;
        lot->blocking = false;
        lot->interrupted = false;
        pthread_mutex_unlock(&lot->lock);
    }
    return interrupted;
}

/* Takes over a reference to `loop`. */
static void
replace_loop(owngil_parking *self, owngil_refcounted *loop, void (*wake_loop)(owngil_refcounted *))
{
    pthread_mutex_lock(&self->lock);
    owngil_refcounted *former = self->loop;
    self->loop = loop;
    self->wake_loop = wake_loop;
    pthread_mutex_unlock(&self->lock);
    owngil_refcount_release(former);
}

void
owngil_parking_watch(owngil_refcounted *loop, void (*wake_loop)(owngil_refcounted *))
{
    if (lot != NULL && lot->loop != loop) { /* only this thread changes it */
        owngil_refcount_acquire(loop);
        replace_loop(lot, loop, wake_loop);
    }
}

void
owngil_parking_forget(const owngil_refcounted *loop)
{
    if (lot != NULL && lot->loop == loop) {
        replace_loop(lot, NULL, NULL);
    }
}

bool
owngil_parking_interrupt(owngil_parking *self)
{
    pthread_mutex_lock(&self->lock);
    bool blocking = self->blocking;
    if (blocking) {
        self->interrupted = true;
        if (self->waiter != NULL) {
            sem_post(&self->waiter->sem);
        }
    }
    else if (self->loop != NULL) {
        self->wake_loop(self->loop);
    }
    pthread_mutex_unlock(&self->lock);
    return blocking;
}

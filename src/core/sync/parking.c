#include "sync/parking.h"

static _Thread_local owngil_parking *parking; /* the calling thread's, if it is a worker's */

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
    parking = self;
}

/* Returns whether no interrupt has come. */
static bool
park(owngil_waiter *waiter)
{
    pthread_mutex_lock(&parking->lock);
    parking->waiter = waiter;
    bool undisturbed = !parking->interrupted;
    pthread_mutex_unlock(&parking->lock);
    return undisturbed;
}

owngil_status
owngil_parking_block(owngil_waiter *waiter, owngil_deadline deadline)
{
    if (parking == NULL) {
        return owngil_waiter_block(waiter, deadline);
    }
    owngil_status code = OWNGIL_INTERRUPTED;
    if (park(waiter)) {
        /* Only workers spin here: elsewhere a signal that came meanwhile would not end the wait. */
        code = owngil_waiter_spin(waiter) == OWNGIL_SPIN_SERVED ? OWNGIL_OK : owngil_waiter_block(waiter, deadline);
    }
    return park(NULL) ? code : OWNGIL_INTERRUPTED; /* an interrupt may be what woke the waiter */
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
    if (parking != NULL) {
        pthread_mutex_lock(&parking->lock);
        parking->blocking = true;
        pthread_mutex_unlock(&parking->lock);
    }
}

bool
owngil_parking_end(void)
{
    bool interrupted = false;
    if (parking != NULL) {
        pthread_mutex_lock(&parking->lock);
        interrupted = parking->interrupted;
        parking->blocking = false;
        parking->interrupted = false;
        pthread_mutex_unlock(&parking->lock);
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
    if (parking != NULL && parking->loop != loop) { /* only this thread changes it */
        owngil_refcount_acquire(loop);
        replace_loop(parking, loop, wake_loop);
    }
}

void
owngil_parking_forget(const owngil_refcounted *loop)
{
    if (parking != NULL && parking->loop == loop) {
        replace_loop(parking, NULL, NULL);
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

#include "workers/timers.h"

#include "base/clock.h"
#include "platform/thread.h"

#include <pthread.h>
#include <signal.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* a leaf; guards all below */
static pthread_cond_t sooner; /* a timer was set that is earlier than `until` */
static bool started;
static bool blocked;          /* the thread waits for `sooner` */
static int64_t until;         /* when the thread wakes up by itself; INT64_MAX: never */
static owngil_timer *first;   /* in no order: there are only two for each worker */

void
owngil_timer_init(owngil_timer *self, owngil_refcounted *owner, void (*expire)(owngil_timer *, uint64_t))
{
    *self = (owngil_timer){.owner = owner, .expire = expire};
}

/* These two need the lock. Neither changes the owner's references. */

static void
link_timer(owngil_timer *self)
{
    self->set = true;
    self->previous = NULL;
    self->next = first;
    if (first != NULL) {
        first->previous = self;
    }
    first = self;
}

static void
unlink_timer(owngil_timer *self)
{
    self->set = false;
    *(self->previous != NULL ? &self->previous->next : &first) = self->next;
    if (self->next != NULL) {
        self->next->previous = self->previous;
    }
}

static void *
thread_main(void *unused)
{
    (void)unused;
    owngil_thread_set_name(pthread_self(), "owngil timers");
    pthread_mutex_lock(&lock);
    for (;;) {
        owngil_timer *earliest = first;
        for (owngil_timer *at = first; at != NULL; at = at->next) {
            earliest = at->at < earliest->at ? at : earliest;
        }
        if (earliest != NULL && earliest->at <= owngil_clock_now()) {
            uint64_t number = earliest->number;
            owngil_refcounted *owner = earliest->owner; /* with the reference that owngil_timer_set() took */
            unlink_timer(earliest);
            pthread_mutex_unlock(&lock);
            earliest->expire(earliest, number);
            owngil_refcount_release(owner);
            pthread_mutex_lock(&lock);
            continue;
        }
        blocked = true;
        until = earliest != NULL ? earliest->at : INT64_MAX;
        if (earliest == NULL) {
            pthread_cond_wait(&sooner, &lock);
        }
        else {
            owngil_clock_wait(&sooner, &lock, until);
        }
        blocked = false;
    }
    return NULL;
}

/* Returns 0 or an errno. Needs the lock. */
static int
start_thread(void)
{
    owngil_clock_init_condition(&sooner);
    /* Blocks all signals in the new thread: they are for the threads that Python knows. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    int error = pthread_create(&thread, NULL, thread_main, NULL);
    started = error == 0;
    if (started) {
        pthread_detach(thread);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

int
owngil_timer_set(owngil_timer *self, double seconds, uint64_t number, bool replaces)
{
    int64_t at = owngil_clock_after(seconds);
    pthread_mutex_lock(&lock);
    int error = started ? 0 : start_thread();
    if (error == 0 && (replaces || !self->set)) {
        self->at = at;
        self->number = number;
        if (!self->set) {
            owngil_refcount_acquire(self->owner);
            link_timer(self);
        }
        /* Waking the thread costs more than all else here, and is rare: of many calls with the same limit, each sets
         * its timer to a later moment than the one before. */
        if (blocked && at < until) {
            pthread_cond_signal(&sooner);
            blocked = false;
        }
    }
    pthread_mutex_unlock(&lock);
    return error;
}

bool
owngil_timer_unset(owngil_timer *self)
{
    pthread_mutex_lock(&lock);
    bool was_set = self->set;
    if (was_set) {
        unlink_timer(self);
    }
    pthread_mutex_unlock(&lock);
    if (was_set) {
        owngil_refcount_release(self->owner);
    }
    return was_set;
}

void
owngil_timers_atfork(owngil_atfork_step step)
{
    owngil_atfork_lock(step, &lock);
    if (step == OWNGIL_ATFORK_CHILD) {
        started = blocked = false;
        while (first != NULL) {
            unlink_timer(first); /* its owner keeps the reference */
        }
    }
}

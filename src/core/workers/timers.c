#include "workers/timers.h"

#include <pthread.h>
#include <signal.h>

/* All guarded by `lock`, which is a leaf. After a fork the child has no thread and no alarms. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t sooner; /* an alarm was set that is earlier than `until` */
    bool started;
    bool sleeping;
    bool forever;          /* it sleeps without an end */
    struct timespec until;
    owngil_alarm *first;   /* two for each worker at the most: not worth an order */
} alarms = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool
is_before(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec < b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec < b->tv_nsec);
}

void
owngil_alarm_init(owngil_alarm *self, owngil_shared *owner, void (*ring)(owngil_alarm *, uint64_t))
{
    *self = (owngil_alarm){.owner = owner, .ring = ring};
}

/* The lock is held in these two. Neither touches the owner's references. */

static void
link_in(owngil_alarm *self)
{
    self->set = true;
    self->previous = NULL;
    self->next = alarms.first;
    if (alarms.first != NULL) {
        alarms.first->previous = self;
    }
    alarms.first = self;
}

static void
unlink_from(owngil_alarm *self)
{
    self->set = false;
    *(self->previous != NULL ? &self->previous->next : &alarms.first) = self->next;
    if (self->next != NULL) {
        self->next->previous = self->previous;
    }
}

static void *
alarms_main(void *unused)
{
    (void)unused;
    pthread_setname_np(pthread_self(), "owngil alarms");
    pthread_mutex_lock(&alarms.lock);
    for (;;) {
        owngil_alarm *earliest = alarms.first;
        for (owngil_alarm *at = earliest; at != NULL; at = at->next) {
            earliest = is_before(&at->at, &earliest->at) ? at : earliest;
        }
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (earliest != NULL && !is_before(&now, &earliest->at)) {
            uint64_t number = earliest->number;
            owngil_shared *owner = earliest->owner; /* and the reference that came with setting the alarm */
            unlink_from(earliest);
            pthread_mutex_unlock(&alarms.lock);
            earliest->ring(earliest, number);
            owngil_shared_release(owner);
            pthread_mutex_lock(&alarms.lock);
            continue;
        }
        alarms.sleeping = true;
        alarms.forever = earliest == NULL;
        if (earliest == NULL) {
            pthread_cond_wait(&alarms.sooner, &alarms.lock);
        }
        else {
            alarms.until = earliest->at;
            pthread_cond_timedwait(&alarms.sooner, &alarms.lock, &alarms.until);
        }
        alarms.sleeping = false;
    }
    return NULL;
}

static void
forget_all(void)
{
    pthread_mutex_init(&alarms.lock, NULL);
    alarms.started = false;
    alarms.sleeping = false;
    alarms.first = NULL;
}

/* Returns 0 or an errno. The lock is held. */
static int
start(void)
{
    static bool watches_forks;
    if (!watches_forks) {
        watches_forks = true;
        pthread_atfork(NULL, NULL, forget_all);
    }
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&alarms.sooner, &clock);
    pthread_condattr_destroy(&clock);
    /* Signals are for the threads that Python knows. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    int error = pthread_create(&thread, &attributes, alarms_main, NULL);
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    alarms.started = error == 0;
    return error;
}

static int
set_alarm(owngil_alarm *self, double seconds, uint64_t number, bool anew)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    time_t whole = (time_t)seconds;
    at.tv_sec += whole;
    at.tv_nsec += (long)((seconds - (double)whole) * 1e9);
    if (at.tv_nsec >= 1000000000L) {
        at.tv_nsec -= 1000000000L;
        at.tv_sec += 1;
    }
    pthread_mutex_lock(&alarms.lock);
    int error = alarms.started ? 0 : start();
    if (error == 0 && (anew || !self->set)) {
        self->at = at;
        self->number = number;
        if (!self->set) {
            owngil_shared_acquire(self->owner);
            link_in(self);
        }
        /* Waking it costs more than all else here. Where many calls have the same limit, each alarm is later than the last. */
        if (alarms.sleeping && (alarms.forever || is_before(&at, &alarms.until))) {
            pthread_cond_signal(&alarms.sooner);
            alarms.sleeping = false;
        }
    }
    pthread_mutex_unlock(&alarms.lock);
    return error;
}

int
owngil_alarm_set(owngil_alarm *self, double seconds, uint64_t number)
{
    return set_alarm(self, seconds, number, true);
}

int
owngil_alarm_set_again(owngil_alarm *self, double seconds, uint64_t number)
{
    return set_alarm(self, seconds, number, false);
}

bool
owngil_alarm_unset(owngil_alarm *self)
{
    pthread_mutex_lock(&alarms.lock);
    bool was_set = self->set;
    if (was_set) {
        unlink_from(self);
    }
    pthread_mutex_unlock(&alarms.lock);
    if (was_set) {
        owngil_shared_release(self->owner);
    }
    return was_set;
}

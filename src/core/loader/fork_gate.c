#include "loader/fork_gate.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

/* Threads that load, and threads that fork: while there is one of either kind, those of the other wait; those that fork
 * go first. */
typedef struct {
    pthread_mutex_t lock; /* before all leaves; a fork has it from its handler on */
    pthread_cond_t changed;
    size_t loading;
    size_t forking;
    size_t announced; /* forks, by threads whose `announced_in` is `round` */
    size_t round;     /* grows when those who load wait no longer for the announced forks */
} gate;

static gate the_gate;
static _Thread_local size_t depth; /* how often this thread has entered */
static _Thread_local bool announces;
static _Thread_local size_t announced_in;

enum { PATIENCE = 1 }; /* seconds */

void
owngil_dynamic_init(void)
{
    the_gate = (gate){.lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&the_gate.changed, &clock);
    pthread_condattr_destroy(&clock);
}

/* Needs the lock, as the next one does. */
static void
withdraw(void)
{
    if (announces && announced_in == the_gate.round) {
        the_gate.announced--;
        pthread_cond_broadcast(&the_gate.changed);
    }
    announces = false;
}

/* Waits for announced forks that wait for nobody inside, but not for ever: what a thread does between announcing and forking
 * may need what a thread does that waits here. */
static void
await_announced(void)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PATIENCE;
    size_t round = the_gate.round;
    while (the_gate.announced > 0 && the_gate.forking == 0 && the_gate.loading == 0 && the_gate.round == round) {
        if (pthread_cond_timedwait(&the_gate.changed, &the_gate.lock, &until) == ETIMEDOUT
            && the_gate.loading == 0 && the_gate.round == round) {
            the_gate.announced = 0;
            the_gate.round++;
        }
    }
}

void
owngil_dynamic_enter(void)
{
    if (depth++ > 0) {
        return;
    }
    pthread_mutex_lock(&the_gate.lock);
    withdraw(); /* else it would wait for itself */
    while (the_gate.forking > 0 || the_gate.announced > 0) {
        if (the_gate.forking > 0 || the_gate.loading > 0) {
            pthread_cond_wait(&the_gate.changed, &the_gate.lock);
        }
        else {
            await_announced();
        }
    }
    the_gate.loading++;
    pthread_mutex_unlock(&the_gate.lock);
}

bool
owngil_dynamic_try_enter(void)
{
    if (depth == 0) {
        pthread_mutex_lock(&the_gate.lock);
        bool enters = the_gate.forking == 0 && the_gate.announced == 0;
        the_gate.loading += enters;
        pthread_mutex_unlock(&the_gate.lock);
        if (!enters) {
            return false;
        }
    }
    depth++;
    return true;
}

void
owngil_dynamic_leave(void)
{
    if (--depth > 0) {
        return;
    }
    pthread_mutex_lock(&the_gate.lock);
    if (--the_gate.loading == 0) {
        pthread_cond_broadcast(&the_gate.changed);
    }
    pthread_mutex_unlock(&the_gate.lock);
}

void *
owngil_dynamic_open(const char *name, int flags)
{
    owngil_dynamic_enter();
    void *handle = dlopen(name, flags);
    owngil_dynamic_leave();
    return handle;
}

int
owngil_dynamic_close(void *handle)
{
    owngil_dynamic_enter();
    int error = dlclose(handle);
    owngil_dynamic_leave();
    return error;
}

bool
owngil_dynamic_announce_fork(void)
{
    if (depth > 0) {
        return true; /* a constructor that forks would wait for itself */
    }
    pthread_mutex_lock(&the_gate.lock);
    withdraw();
    announces = true;
    announced_in = the_gate.round;
    the_gate.announced++;
    bool may_fork = the_gate.loading == 0;
    pthread_mutex_unlock(&the_gate.lock);
    return may_fork;
}

void
owngil_dynamic_await_loading(void)
{
    pthread_mutex_lock(&the_gate.lock);
    while (the_gate.loading > 0) {
        pthread_cond_wait(&the_gate.changed, &the_gate.lock);
    }
    pthread_mutex_unlock(&the_gate.lock);
}

void
owngil_dynamic_withdraw_fork(void)
{
    pthread_mutex_lock(&the_gate.lock);
    withdraw();
    pthread_mutex_unlock(&the_gate.lock);
}

void
owngil_dynamic_fork(owngil_fork_step step)
{
    bool loads = depth > 0; /* a constructor that forks does not wait for itself, nor for others in its situation */
    switch (step) {
    case OWNGIL_FORK_PREPARE:
        pthread_mutex_lock(&the_gate.lock);
        the_gate.forking++;
        while (!loads && the_gate.loading > 0) {
            pthread_cond_wait(&the_gate.changed, &the_gate.lock);
        }
        break;
    case OWNGIL_FORK_PARENT:
        the_gate.forking--;
        withdraw();
        pthread_cond_broadcast(&the_gate.changed);
        pthread_mutex_unlock(&the_gate.lock);
        break;
    case OWNGIL_FORK_CHILD: /* where the other threads are not, whatever they were doing */
        owngil_dynamic_init();
        the_gate.loading = loads;
        announces = false;
        break;
    }
}

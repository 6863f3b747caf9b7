#include "dynamic.h"

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

static const gate open = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
static gate the_gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
static _Thread_local size_t depth; /* how often this thread has entered */
static _Thread_local bool announces;
static _Thread_local size_t announced_in;

enum { PATIENCE = 1 }; /* seconds */

/* Waits for announced forks, but not for ever: what a thread does between announcing and forking may need what a thread
 * does that waits here. */
static void
await_announced(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE;
    size_t round = the_gate.round;
    while (the_gate.announced > 0 && the_gate.forking == 0 && the_gate.round == round) {
        if (pthread_cond_timedwait(&the_gate.changed, &the_gate.lock, &until) == ETIMEDOUT
            && the_gate.round == round) {
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
    while (the_gate.forking > 0 || the_gate.announced > 0) {
        if (the_gate.forking > 0) {
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

static void
await_loading(void)
{
    while (the_gate.loading > 0) {
        pthread_cond_wait(&the_gate.changed, &the_gate.lock);
    }
}

/* Needs the lock. */
static void
withdraw(void)
{
    if (announces && announced_in == the_gate.round) {
        the_gate.announced--;
    }
    announces = false;
    pthread_cond_broadcast(&the_gate.changed);
}

void
owngil_dynamic_announce_fork(void)
{
    if (depth > 0) {
        return; /* a constructor that forks would wait for itself */
    }
    pthread_mutex_lock(&the_gate.lock);
    withdraw();
    announces = true;
    announced_in = the_gate.round;
    the_gate.announced++;
    await_loading();
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
        if (!loads) {
            await_loading();
        }
        break;
    case OWNGIL_FORK_PARENT:
        the_gate.forking--;
        withdraw();
        pthread_mutex_unlock(&the_gate.lock);
        break;
    case OWNGIL_FORK_CHILD: /* where the other threads are not, whatever they were doing */
        the_gate = open;
        the_gate.loading = loads;
        announces = false;
        break;
    }
}

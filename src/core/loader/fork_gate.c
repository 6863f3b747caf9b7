#include "loader/fork_gate.h"

#include "base/clock.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

/* Counts threads that load (that is, are inside the gate) and threads that fork. While there are threads of one kind,
 * those of the other kind wait. Forking threads go first. */
typedef struct {
    pthread_mutex_t lock; /* before all leaves in the lock order; a fork holds it from its handler on */
    pthread_cond_t changed;
    size_t loading;
    size_t forking;
    size_t announced; /* forks, by threads whose `announced_round` is `round` */
    size_t round;     /* grows when loading threads give up waiting for the announced forks */
} gate;

static gate the_gate = {.lock = PTHREAD_MUTEX_INITIALIZER};
static _Thread_local size_t depth; /* how often this thread has entered */
static _Thread_local bool has_announced;
static _Thread_local size_t announced_round;

static const int64_t PATIENCE = INT64_C(5) * OWNGIL_CLOCK_SECOND; /* longer than a busy machine needs to fork */

void
owngil_fork_gate_init(void)
{
    owngil_clock_init_condition(&the_gate.changed);
}

/* Takes back the announcement of the calling thread, if there is one. Needs the lock. */
static void
withdraw_locked(void)
{
    if (has_announced && announced_round == the_gate.round) {
        the_gate.announced--;
        pthread_cond_broadcast(&the_gate.changed);
    }
    has_announced = false;
}

/* Waits until the announced forks are over, while no thread is inside. Gives up after PATIENCE: between announcing and
 * forking, a thread may need a thread that waits here. Needs the lock. */
static void
await_announced(void)
{
    int64_t until = owngil_clock_now() + PATIENCE;
    size_t round = the_gate.round;
    while (the_gate.announced > 0 && the_gate.forking == 0 && the_gate.loading == 0 && the_gate.round == round) {
        if (owngil_clock_wait(&the_gate.changed, &the_gate.lock, until) == ETIMEDOUT && the_gate.loading == 0
            && the_gate.round == round) {
            the_gate.announced = 0;
            the_gate.round++;
        }
    }
}

void
owngil_fork_gate_enter(void)
{
    if (depth++ > 0) {
        return;
    }
    pthread_mutex_lock(&the_gate.lock);
    withdraw_locked(); /* otherwise this thread would wait for itself */
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
owngil_fork_gate_try_enter(void)
{
    if (depth == 0) {
        pthread_mutex_lock(&the_gate.lock);
        bool open = the_gate.forking == 0 && the_gate.announced == 0;
        the_gate.loading += open;
        pthread_mutex_unlock(&the_gate.lock);
        if (!open) {
            return false;
        }
    }
    depth++;
    return true;
}

void
owngil_fork_gate_leave(void)
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
owngil_fork_gate_open(const char *name, int flags)
{
    owngil_fork_gate_enter();
    void *handle = dlopen(name, flags);
    owngil_fork_gate_leave();
    return handle;
}

int
owngil_fork_gate_close(void *handle)
{
    owngil_fork_gate_enter();
    int error = dlclose(handle);
    owngil_fork_gate_leave();
    return error;
}

bool
owngil_fork_gate_announce(void)
{
    if (depth > 0) {
        return true; /* a constructor that forks would wait for itself */
    }
    pthread_mutex_lock(&the_gate.lock);
    withdraw_locked();
    has_announced = true;
    announced_round = the_gate.round;
    the_gate.announced++;
    bool may_fork = the_gate.loading == 0;
    pthread_mutex_unlock(&the_gate.lock);
    return may_fork;
}

void
owngil_fork_gate_await_loading(void)
{
    pthread_mutex_lock(&the_gate.lock);
    while (the_gate.loading > 0) {
        pthread_cond_wait(&the_gate.changed, &the_gate.lock);
    }
    pthread_mutex_unlock(&the_gate.lock);
}

void
owngil_fork_gate_withdraw(void)
{
    pthread_mutex_lock(&the_gate.lock);
    withdraw_locked();
    pthread_mutex_unlock(&the_gate.lock);
}

void
owngil_fork_gate_atfork(owngil_atfork_step step)
{
    bool loads = depth > 0; /* a constructor that forks waits neither for itself nor for other constructors that fork */
    switch (step) {
    case OWNGIL_ATFORK_PREPARE:
        pthread_mutex_lock(&the_gate.lock);
        the_gate.forking++;
        while (!loads && the_gate.loading > 0) {
            pthread_cond_wait(&the_gate.changed, &the_gate.lock);
        }
        break;
    case OWNGIL_ATFORK_PARENT:
        the_gate.forking--;
        withdraw_locked();
        pthread_cond_broadcast(&the_gate.changed);
        pthread_mutex_unlock(&the_gate.lock);
        break;
    case OWNGIL_ATFORK_CHILD: /* the child has none of the other threads, whatever they were doing */
        owngil_clock_init_condition(&the_gate.changed);
        the_gate.loading = loads;
        the_gate.forking = the_gate.announced = 0;
        has_announced = false;
        pthread_mutex_unlock(&the_gate.lock);
        break;
    }
}

#include "sync/waiter.h"

#include "messaging/wakeup.h"

#include <assert.h>
#include <math.h>

const owngil_deadline owngil_deadline_never = {.never = true};
const owngil_deadline owngil_deadline_now = {.never = false};

int
owngil_deadline_from_object(PyObject *timeout, owngil_deadline *deadline)
{
    *deadline = owngil_deadline_never;
    if (timeout == NULL || timeout == Py_None) {
        return 0;
    }
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (isnan(seconds) || seconds < 0.0) {
        PyErr_Format(PyExc_ValueError, "timeout must be None or a number of seconds >= 0, not %R", timeout);
        return -1;
    }
    if (seconds == 0.0) {
        *deadline = owngil_deadline_now;
        return 0;
    }
    if (seconds > 1e9) { /* over thirty years: never, and no overflow below */
        return 0;
    }
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    time_t whole = (time_t)seconds;
    long nanos = (long)((seconds - (double)whole) * 1e9);
    deadline->never = false;
    deadline->at.tv_sec = now.tv_sec + whole;
    deadline->at.tv_nsec = now.tv_nsec + nanos;
    if (deadline->at.tv_nsec >= 1000000000L) {
        deadline->at.tv_nsec -= 1000000000L;
        deadline->at.tv_sec += 1;
    }
    return 0;
}

/* The wait that the calling thread is in, or about to begin: it may take several rounds, between which signals' handlers
 * run; these begin waits of their own. */
typedef struct {
    int64_t since; /* when it began, on the monotonic clock, in nanoseconds; 0: it has not */
    int64_t nap;   /* how long the next sleep may be, in nanoseconds, if it is the main thread's */
} wait_rounds;

enum { FIRST_NAP = 50 * 1000 * 1000 };
static _Thread_local wait_rounds rounds = {.since = 0, .nap = FIRST_NAP};

int64_t
owngil_wait_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void
owngil_waiter_init(owngil_waiter *self, void *item)
{
    self->next = self->previous = NULL;
    self->wakeup = NULL;
    self->receiver = 0;
    self->since = rounds.since != 0 ? rounds.since : owngil_wait_now();
    self->done = false;
    self->code = OWNGIL_OK;
    self->item = item;
    sem_init(&self->sem, 0, 0);
}

void
owngil_waiter_clear(owngil_waiter *self)
{
    sem_destroy(&self->sem);
}

/* The calling thread's place, if it is a worker's. */
static _Thread_local owngil_parking *parking;

/* Returns false when the wait was interrupted before it began. */
static bool
park(owngil_waiter *waiter)
{
    bool go = true;
    if (parking != NULL) {
        pthread_mutex_lock(&parking->lock);
        parking->waiter = waiter;
        go = !parking->interrupted;
        pthread_mutex_unlock(&parking->lock);
    }
    return go;
}

/* Returns false when the wait was interrupted: it may be that which woke the waiter. */
static bool
unpark(void)
{
    bool undisturbed = true;
    if (parking != NULL) {
        pthread_mutex_lock(&parking->lock);
        parking->waiter = NULL;
        undisturbed = !parking->interrupted;
        pthread_mutex_unlock(&parking->lock);
    }
    return undisturbed;
}

owngil_look
owngil_waiter_look(owngil_waiter *self)
{
    /* Some 40 us: longer than it takes to wake the other thread, so that of two threads that answer each other one can
     * begin with this, and then the other. */
    enum { ROUNDS = 500, PATIENCE = 4, PAUSE = 64 };
    static _Thread_local int failures, pause;
    if (pause > 0) {
        pause--;
        return OWNGIL_LOOK_NONE;
    }
    for (int k = 0; k < ROUNDS; k++) {
        if (sem_trywait(&self->sem) == 0) {
            failures = 0;
            return OWNGIL_LOOK_FOUND;
        }
        owngil_compat_relax();
    }
    if (++failures >= PATIENCE) {
        pause = PAUSE;
        failures = PATIENCE - 1;
    }
    return OWNGIL_LOOK_VAIN;
}

static owngil_code
sleep_until(owngil_waiter *self, const owngil_deadline *deadline)
{
    int failed = deadline->never ? sem_wait(&self->sem) : owngil_compat_sem_wait_until(&self->sem, &deadline->at);
    return !failed ? OWNGIL_OK : errno == ETIMEDOUT ? OWNGIL_TIMEOUT : OWNGIL_INTERRUPTED;
}

/* How the main thread sleeps, in which Python runs the handlers of signals. One that arrives after Python has last looked
 * and before the sleep begins does not end the sleep: there are only some instructions between the two, but as the thread
 * lets go of its GIL there, others run at just that moment, and what they do may be what somebody interrupts. Nothing that
 * waits for a semaphore can be told of signals in the same step; so the thread wakes up by itself, soon, and then always
 * after twice the time, to begin another round of the same wait. A signal is thus late by about as long as the wait has lasted,
 * at most, and a wait of an hour is disturbed sixteen times. */
static owngil_code
sleep_in_naps(owngil_waiter *self, const owngil_deadline *deadline)
{
    owngil_deadline end = {.never = false};
    clock_gettime(CLOCK_MONOTONIC, &end.at);
    int64_t nanos = end.at.tv_nsec + rounds.nap;
    end.at.tv_sec += (time_t)(nanos / 1000000000);
    end.at.tv_nsec = (long)(nanos % 1000000000);
    const struct timespec *last = &deadline->at;
    if (!deadline->never
        && (last->tv_sec < end.at.tv_sec || (last->tv_sec == end.at.tv_sec && last->tv_nsec <= end.at.tv_nsec))) {
        return sleep_until(self, deadline);
    }
    owngil_code code = sleep_until(self, &end);
    if (code == OWNGIL_TIMEOUT) {
        rounds.nap *= 2;
        code = OWNGIL_INTERRUPTED;
    }
    return code;
}

owngil_code
owngil_waiter_sleep(owngil_waiter *self, const owngil_deadline *deadline)
{
    owngil_code code = OWNGIL_INTERRUPTED;
    if (park(self)) {
        if (parking != NULL) {
            /* Only workers look here: elsewhere a signal that came meanwhile would not end the sleep. */
            code = owngil_waiter_look(self) == OWNGIL_LOOK_FOUND ? OWNGIL_OK : sleep_until(self, deadline);
        }
        else {
            code = owngil_compat_is_main_thread() ? sleep_in_naps(self, deadline) : sleep_until(self, deadline);
        }
    }
    return unpark() ? code : OWNGIL_INTERRUPTED;
}

void
owngil_parking_init(owngil_parking *self)
{
    pthread_mutex_init(&self->lock, NULL);
    self->blocking = false;
    self->interrupted = false;
    self->waiter = NULL;
    self->wakeup = NULL;
}

void
owngil_parking_clear(owngil_parking *self)
{
    if (self->wakeup != NULL) {
        owngil_shared_release(&self->wakeup->base);
    }
    pthread_mutex_destroy(&self->lock);
}

void
owngil_parking_adopt(owngil_parking *self)
{
    parking = self;
}

/* Puts `wakeup` and a reference to it in the place of what is there. */
static void
replace_wakeup(owngil_parking *self, owngil_wakeup *wakeup)
{
    pthread_mutex_lock(&self->lock);
    owngil_wakeup *former = self->wakeup;
    self->wakeup = wakeup;
    pthread_mutex_unlock(&self->lock);
    if (former != NULL) {
        owngil_shared_release(&former->base);
    }
}

void
owngil_parking_watch(owngil_wakeup *wakeup)
{
    if (parking != NULL && parking->wakeup != wakeup) { /* only this thread changes it */
        owngil_shared_acquire(&wakeup->base);
        replace_wakeup(parking, wakeup);
    }
}

void
owngil_parking_forget(const owngil_wakeup *wakeup)
{
    if (parking != NULL && parking->wakeup == wakeup) {
        replace_wakeup(parking, NULL);
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
    else if (self->wakeup != NULL) {
        owngil_wakeup_nudge(self->wakeup);
    }
    pthread_mutex_unlock(&self->lock);
    return blocking;
}

void
owngil_wait_begin(void)
{
    if (rounds.since == 0) {
        rounds.since = owngil_wait_now();
    }
    if (parking != NULL) {
        pthread_mutex_lock(&parking->lock);
        parking->blocking = true;
        pthread_mutex_unlock(&parking->lock);
    }
}

static int
wait_end(owngil_code code, bool undoes)
{
    bool interrupted = false;
    if (parking != NULL) {
        pthread_mutex_lock(&parking->lock);
        interrupted = parking->interrupted;
        parking->blocking = false;
        parking->interrupted = false;
        pthread_mutex_unlock(&parking->lock);
    }
    const wait_rounds this_wait = rounds;
    rounds = (wait_rounds){.since = 0, .nap = FIRST_NAP};
    bool over = code != OWNGIL_INTERRUPTED;
    if (over && !undoes) {
        if (interrupted) {
            /* Keep what the wait brought, and raise at the next bytecode. */
            PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), PyExc_KeyboardInterrupt);
        }
        return 0;
    }
    if (interrupted) {
        PyErr_SetNone(PyExc_KeyboardInterrupt);
        return -1;
    }
    if (PyErr_CheckSignals() < 0) {
        return -1;
    }
    if (over) {
        return 0;
    }
    rounds = this_wait;
    return 1;
}

int
owngil_wait_end(owngil_code code)
{
    return wait_end(code, false);
}

int
owngil_wait_end_to_undo(owngil_code code)
{
    return wait_end(code, true);
}

void
owngil_waiter_wake(owngil_waiter *self)
{
    if (self->wakeup != NULL) {
        owngil_wakeup_ring(self->wakeup, self);
    }
    else {
        sem_post(&self->sem);
    }
}

void
owngil_waiters_add(owngil_waiters *list, owngil_waiter *waiter)
{
    owngil_waiter *before = list->tail;
    while (before != NULL && before->since > waiter->since) {
        before = before->previous;
    }
    waiter->previous = before;
    waiter->next = before != NULL ? before->next : list->head;
    *(before != NULL ? &before->next : &list->head) = waiter;
    *(waiter->next != NULL ? &waiter->next->previous : &list->tail) = waiter;
    list->length++;
}

owngil_waiter *
owngil_waiters_pop(owngil_waiters *list)
{
    owngil_waiter *first = list->head;
    if (first != NULL) {
        owngil_waiters_remove(list, first);
    }
    return first;
}

void
owngil_waiters_remove(owngil_waiters *list, owngil_waiter *waiter)
{
    assert(list->length > 0);
    *(waiter->previous != NULL ? &waiter->previous->next : &list->head) = waiter->next;
    *(waiter->next != NULL ? &waiter->next->previous : &list->tail) = waiter->previous;
    list->length--;
}

#include "loader/threads.h"

#include "base/clock.h"
#include "platform/thread.h"

#include <stdlib.h>

void
owngil_threads_init(owngil_threads *self)
{
    *self = (owngil_threads){.count = 0};
    pthread_mutex_init(&self->lock, NULL);
}

void
owngil_threads_clear(owngil_threads *self)
{
    free(self->records);
    pthread_mutex_destroy(&self->lock);
}

enum { AT_ANY_TIME = 0 }; /* instead of a thread's number: more threads may start */

/* Removes the records of threads that have ended. Needs the lock. */
static void
remove_ended(owngil_threads *self)
{
    size_t left = 0;
    for (size_t k = 0; k < self->count; k++) {
        if (self->records[k].id == AT_ANY_TIME || owngil_thread_is_alive(self->records[k].id)) {
            self->records[left++] = self->records[k];
        }
    }
    self->count = left;
}

static void
add_record(owngil_threads *self, pid_t id, const char *library)
{
    pthread_mutex_lock(&self->lock);
    if (self->count == self->room) {
        remove_ended(self);
        size_t room = self->count < self->room / 2 ? self->room : 2 * self->room + 8;
        owngil_thread_record *records = realloc(self->records, room * sizeof(*records));
        if (records != NULL) {
            self->records = records;
            self->room = room;
        }
    }
    if (self->count < self->room) {
        self->records[self->count++] = (owngil_thread_record){.id = id, .library = library != NULL ? library : ""};
    }
    else {
        self->lost = true;
    }
    pthread_mutex_unlock(&self->lock);
}

owngil_thread *
owngil_threads_new(owngil_thread thread)
{
    owngil_thread *result = malloc(sizeof(*result));
    if (result != NULL) {
        *result = thread;
        owngil_refcount_acquire(thread.owner);
        pthread_mutex_lock(&thread.threads->lock);
        thread.threads->starting++;
        pthread_mutex_unlock(&thread.threads->lock);
    }
    return result;
}

void
owngil_threads_drop(owngil_thread *self)
{
    pthread_mutex_lock(&self->threads->lock);
    self->threads->starting--;
    pthread_mutex_unlock(&self->threads->lock);
    owngil_refcount_release(self->owner);
    free(self);
}

/* Records the calling thread, which does not count as starting from then on. Frees `self` and returns its contents. */
static owngil_thread
record_self(owngil_thread *self)
{
    owngil_thread thread = *self;
    add_record(thread.threads, owngil_thread_id(), thread.library);
    owngil_threads_drop(self);
    return thread;
}

void *
owngil_threads_run(void *self)
{
    owngil_thread thread = record_self(self);
    return thread.start(thread.argument);
}

int
owngil_threads_run_c11(void *self)
{
    owngil_thread thread = record_self(self);
    return thread.start_c11(thread.argument);
}

void
owngil_threads_run_python(void *self)
{
    owngil_thread thread = record_self(self);
    thread.start_python(thread.argument);
}

void
owngil_threads_add(owngil_threads *self, pthread_t thread, const char *library)
{
    pid_t id = owngil_thread_id_of(thread);
    if (id != 0) {
        add_record(self, id, library);
    }
}

void
owngil_threads_add_timer(owngil_threads *self, const char *library)
{
    add_record(self, AT_ANY_TIME, library);
}

const char *
owngil_threads_living(owngil_threads *self, bool waits)
{
    /* The system lists a joined thread for a moment more: pthread_join() does not wait until the kernel is done with
     * it. */
    enum { NAPS = 20 };
    const struct timespec nap = owngil_clock_timespec(OWNGIL_CLOCK_MILLISECOND);
    for (int k = 0;; k++) {
        pthread_mutex_lock(&self->lock);
        remove_ended(self);
        const char *living = self->count > 0 ? self->records[0].library : self->starting > 0 || self->lost ? "" : NULL;
        pthread_mutex_unlock(&self->lock);
        if (living == NULL || !waits || k == NAPS) {
            return living;
        }
        nanosleep(&nap, NULL);
    }
}

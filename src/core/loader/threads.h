/* Records the threads that a worker's private copies start, and says whether one of them still lives.
 *
 * Such a thread may read and write the memory of its worker's interpreter as long as it lives, whatever it waits for.
 * So a worker's memory goes back to the system only if all these threads have ended.
 */
#pragma once

#include "base/refcount.h"

#include <pthread.h>
#include <sys/types.h>

typedef struct {
    pid_t id;            /* 0: see owngil_threads_add_timer() */
    const char *library; /* path of the library that started the thread; the library is pinned */
} owngil_thread_record;

typedef struct {
    pthread_mutex_t lock;          /* a leaf; guards all below */
    owngil_thread_record *records; /* ended threads too */
    size_t count, room;
    size_t starting; /* threads that have no record yet */
    bool lost;       /* a thread has no record for want of memory */
} owngil_threads;

/* A thread that is about to start. */
typedef struct {
    void *(*start)(
        void *); /* pthread_create()'s argument; the other functions that start a thread set one of the next two */
    int (*start_c11)(void *);
    void (*start_python)(void *);
    void *argument;
    const char *library;
    owngil_threads *threads;
    owngil_refcounted *owner; /* of `threads`; referenced until the thread runs */
} owngil_thread;

void owngil_threads_init(owngil_threads *self);
void owngil_threads_clear(owngil_threads *self);

/* Returns an argument for one of the three functions below, or NULL without memory. Drop it if no thread starts after
 * all. */
owngil_thread *owngil_threads_new(owngil_thread thread);
void owngil_threads_drop(owngil_thread *self);

/* Start functions of new threads: the thread records itself, and calls the start function in its owngil_thread. */
void *owngil_threads_run(void *self);
int owngil_threads_run_c11(void *self);
void owngil_threads_run_python(void *self);

/* Records a thread that started in another way, and is neither joined nor detached yet. */
void owngil_threads_add(owngil_threads *self, pthread_t thread, const char *library);

/* Records that the C library will start threads for `library`, whenever a timer expires or a message comes. This counts
 * as a thread that never ends: nothing tells when the last one has ended. */
void owngil_threads_add_timer(owngil_threads *self, const char *library);

/* Returns NULL if all threads have ended, else the path of the library of a living thread, "" if that is not known.
 * Waits some milliseconds for threads that are about to end. Needs no GIL. */
const char *owngil_threads_living(owngil_threads *self, bool waits);

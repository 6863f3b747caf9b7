/* The threads that a worker's private copies start, and whether one of them still lives.
 *
 * Such a thread may read and write the memory of the worker's interpreter as long as it lives, whatever it waits for. So the
 * memory of a worker goes back to the system only if all these threads have ended.
 */
#pragma once

#include "base/refcount.h"

#include <pthread.h>
#include <sys/types.h>

typedef struct {
    pid_t id;
    const char *library; /* path of the library that started it, which stays for ever */
} owngil_thread_record;

typedef struct {
    pthread_mutex_t lock; /* a leaf; guards all below */
    owngil_thread_record *records; /* ended threads too */
    size_t count, room;
    size_t starting;      /* threads that have no record yet */
    bool lost;            /* a thread has no record for want of memory */
} owngil_threads;

/* A thread that is about to start. */
typedef struct {
    void *(*start)(void *); /* of pthread_create(), or of the others: */
    int (*start_c11)(void *);
    void (*start_python)(void *);
    void *argument;
    const char *library;
    owngil_threads *threads;
    owngil_refcounted *owner; /* of `threads`; referenced until the thread runs */
} owngil_thread;

void owngil_threads_init(owngil_threads *self);
void owngil_threads_clear(owngil_threads *self);

/* Returns an argument for one of the three functions below, or NULL without memory. Drop it if no thread starts after all. */
owngil_thread *owngil_threads_new(owngil_thread thread);
void owngil_threads_drop(owngil_thread *self);

/* What a new thread calls: it records itself, and does what it is for. */
void *owngil_threads_run(void *self);
int owngil_threads_run_c11(void *self);
void owngil_threads_run_python(void *self);

/* Records a thread that started in another way, and is neither joined nor detached yet. */
void owngil_threads_add(owngil_threads *self, pthread_t thread, const char *library);

/* Returns NULL if all have ended. Else the path of a library of which a thread lives, "" if it is not known. Waits some
 * milliseconds for threads that are about to end. Needs no GIL. */
const char *owngil_threads_living(owngil_threads *self);

/* A worker: an OS thread with an interpreter and a GIL of its own. Its life is in life.h. */
#pragma once

#include "cpython/large_objects.h"
#include "loader/copies.h"
#include "messaging/kinds.h"
#include "messaging/queue.h"
#include "sync/parking.h"
#include "tracing/events.h"
#include "workers/timers.h"

/* The id of what a worker runs before its first task, preloads and the initializer: it is stopped as a task is. */
#define OWNGIL_TASK_START ((uint64_t)INT64_MAX)

/* The newest interrupt, of which it is not known yet whether the task noticed it; `grace_timer` is set for it. */
typedef struct {
    uint64_t task, limit; /* that it is for: a task, and the call with a limit in there, or 0: any */
    int64_t since;        /* when it was sent, by owngil_clock_now() */
    uint64_t serial;      /* another for each */
    double grace;         /* seconds */
    bool unsent;          /* no helper thread could be had for it: to be tried again */
    bool inspected;       /* a helper thread was sent to see what the worker does */
    bool reported;        /* the dispatcher was told */
} owngil_doubt;

/* A guest: a thread from outside that is in the worker's interpreter. Its C code need not be able to deal with SystemExit:
 * PyErr_Print() ends the process then. */
typedef struct owngil_guest {
    struct owngil_guest *next;
    PyThreadState *tstate;
} owngil_guest;

typedef struct owngil_worker {
    owngil_refcounted base;
    /* Set before the thread starts, constant from then on. */
    char *name;
    uint64_t number;        /* the id of its reports */
    uint64_t owner;         /* of its arenas: a number of ids.h */
    char *bootstrap;        /* Python source, UTF-8 */
    owngil_message *setup;
    owngil_queue *tasks, *replies;
    pthread_t thread;
    /* Atomic. */
    _Atomic(PyInterpreterState *) own_interp; /* NULL before its start and after its end; to compare with, no more */
    _Atomic int64_t interpreter_id;      /* -1 before there is one */
    _Atomic uint64_t task;               /* that it is running, 0: none; written with the worker's GIL held */
    atomic_bool joined;                  /* or to be joined by owngil_shutdown_exit() */
    atomic_bool stopped;                 /* it runs no more tasks: each fails as it begins */
    _Atomic uint64_t limit;              /* number of the call with a limit that it is in, or 0; as `task` */
    _Atomic double limit_grace;          /* of that call; a late timer may look at the next one's */
    /* Guarded by `lock`. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    PyInterpreterState *interp;          /* NULL before its start and from the beginning of its end */
    size_t holders;                      /* threads that keep the interpreter from ending */
    owngil_guest *guests;
    struct owngil_errand *errands;       /* of interrupts.c: helper threads that are on their way */
    owngil_doubt doubt;
    struct owngil_worker *next;          /* in the registry; guarded by that one's lock */
    /* Of the worker's thread. */
    unsigned long ident;
    uint64_t limits;                     /* calls with a limit, so far */
    owngil_message *request;             /* the task that it took last, until it answers; owned */
    owngil_parking parking;
    owngil_large_objects heap;
    /* Their own locks inside, or atomic. */
    owngil_activity activity;
    owngil_timer limit_timer, grace_timer;
    owngil_copies copies;
} owngil_worker;

/* Returns a new worker with one reference and without a thread, or NULL without memory. Takes references of its own to
 * `setup`, `tasks` and `replies`. Needs no GIL. */
owngil_worker *owngil_worker_new(const char *name, uint64_t number, const char *bootstrap, owngil_message *setup,
                                 owngil_queue *tasks, owngil_queue *replies, const owngil_guest_functions *guests);

/* The worker whose own thread this is, or NULL. */
owngil_worker *owngil_worker_current(void);

/* The calling thread is the worker's own from now on; NULL: no worker's. */
void owngil_worker_adopt(owngil_worker *self);

/* Keeps the worker's interpreter from ending until owngil_worker_release(). Returns NULL when its end has begun. Locks the
 * worker. */
PyInterpreterState *owngil_worker_hold(owngil_worker *self);
void owngil_worker_release(owngil_worker *self);

/* From here on no thread can hold the interpreter; waits for those that do. Needs the GIL, and lets go of it. */
void owngil_worker_refuse_holders(owngil_worker *self);

/* While the caller holds the interpreter; and before the thread state is deleted. Lock the worker. */
void owngil_worker_add_guest(owngil_worker *self, owngil_guest *guest);
void owngil_worker_remove_guest(owngil_worker *self, const owngil_guest *guest);

/* Whether the thread state is a guest's. Locks the worker. */
bool owngil_worker_has_guest(owngil_worker *self, const PyThreadState *tstate);

/* Puts a message into `replies`, with the worker's number as id. `text` is a Block of so many bytes, or NULL: none. A report
 * that finds no memory is lost. Needs no GIL. */
void owngil_worker_report(owngil_worker *self, owngil_message_kind kind, const char *text, size_t size);

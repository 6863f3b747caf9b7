/* A worker: an OS thread with an interpreter and a GIL of its own. life.h starts and ends it. */
#pragma once

#include "cpython/large_objects.h"
#include "loader/copies.h"
#include "messaging/kinds.h"
#include "messaging/queue.h"
#include "sync/parking.h"
#include "tracing/events.h"
#include "workers/timers.h"

/* The task number of a worker's start: preloads and the initializer, before the first task. It is stopped like a
 * task. */
#define OWNGIL_TASK_START ((uint64_t)INT64_MAX)

/* The newest interrupt, while it is not known whether the task noticed it. `grace_timer` is set for it. */
typedef struct {
    uint64_t task, limit; /* to interrupt: a task, and the call with a limit in there, or 0: any */
    int64_t since;        /* when it was sent, by owngil_clock_now() */
    uint64_t serial;      /* another for each */
    double grace;         /* seconds */
    bool unsent;          /* no helper thread could start for it: to be tried again */
    bool inspected;       /* a helper thread was sent to see what the worker does */
    bool reported;        /* the dispatcher was told */
} owngil_pending_interrupt;

/* A guest thread in the worker's interpreter. It never gets SystemExit, because its C code may not expect that:
 * PyErr_Print() then ends the process. */
typedef struct owngil_guest {
    struct owngil_guest *next;
    PyThreadState *tstate;
} owngil_guest;

typedef struct owngil_worker {
    owngil_refcounted base;
    /* Set before the thread starts, constant from then on. */
    char *name;
    uint64_t number;        /* the id of its reports */
    uint64_t owner;         /* owner number of its arenas, from ids.h */
    char *bootstrap;        /* Python source, UTF-8 */
    owngil_message *setup;
    owngil_queue *tasks, *replies;
    pthread_t thread;
    /* Atomic. */
    _Atomic(PyInterpreterState *) own_interp; /* only to compare with; NULL before its start and after its end */
    _Atomic int64_t interpreter_id;      /* -1 before there is one */
    _Atomic uint64_t task;               /* number of the running task, 0: none; changes with the worker's GIL held */
    atomic_bool joined;                  /* or owngil_shutdown_exit() joins it */
    atomic_bool stopped;                 /* each task fails as it begins */
    _Atomic uint64_t limit;              /* number of the call with a limit that it is in, or 0; as `task` */
    _Atomic double limit_grace;          /* of that call; a late timer may read the next one's */
    /* Guarded by the worker's GIL. */
    bool postpones;                      /* interrupts wait until the end of uninterrupted() */
    bool postponed;                      /* one waits */
    /* Guarded by `lock`. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    PyInterpreterState *interp;          /* NULL before its start and from the beginning of its end */
    PyThreadState *tstate;               /* the own thread state; set before `interp`, constant from then on */
    size_t holders;                      /* threads that keep the interpreter from ending */
    owngil_guest *guests;
    struct owngil_errand *errands;       /* of helper threads that do not have the GIL yet, see interrupts.c */
    owngil_pending_interrupt pending;
    /* Guarded by the registry's lock, and by that of shutdown.c. */
    struct owngil_worker *next, *next_kept, *next_lingering;
    /* For the worker's own thread only. */
    unsigned long ident;
    uint64_t limits;                     /* calls with a limit, so far */
    bool has_own_folder;                 /* and a umask */
    bool prepared;                       /* the interpreter's atexit functions call owngil_shutdown_before_end() */
    bool is_done;                        /* the interpreter has run its source, and is about to end */
    bool ends;                           /* owngil_shutdown_before_end() has returned */
    owngil_message *spares[2];           /* reports of its failure and its end, for want of memory; owned, or NULL */
    owngil_message *request;             /* the task that it took last, until it answers; owned */
    owngil_parking parking;
    owngil_large_objects heap;
    /* With locks of their own, or atomic. */
    owngil_activity activity;
    owngil_timer limit_timer, grace_timer;
    owngil_copies copies;
} owngil_worker;

/* Returns a new worker with one reference and without a thread, or NULL without memory. Takes references of its own to
 * `setup`, `tasks` and `replies`. Needs no GIL. */
owngil_worker *owngil_worker_new(const char *name, uint64_t number, const char *bootstrap, owngil_message *setup,
                                 owngil_queue *tasks, owngil_queue *replies, const owngil_guest_functions *guests);

/* Returns the worker whose own thread calls, or NULL. */
owngil_worker *owngil_worker_current(void);

/* Makes the calling thread the worker's own; NULL: no worker's. */
void owngil_worker_adopt(owngil_worker *self);

/* Keeps the worker's interpreter from ending until owngil_worker_release(). Returns NULL once its end has begun. Locks
 * the worker. */
PyInterpreterState *owngil_worker_hold(owngil_worker *self);
void owngil_worker_release(owngil_worker *self);

/* Lets no more thread hold the interpreter, and waits for those that do. Needs the GIL, and releases it meanwhile. */
void owngil_worker_refuse_holders(owngil_worker *self);

/* Add a guest, while the caller holds the interpreter, and remove it before its thread state is deleted. Lock the
 * worker. */
void owngil_worker_add_guest(owngil_worker *self, owngil_guest *guest);
void owngil_worker_remove_guest(owngil_worker *self, const owngil_guest *guest);

/* Whether the thread state is a guest thread's. Locks the worker. */
bool owngil_worker_has_guest(owngil_worker *self, const PyThreadState *tstate);

/* Puts a message into `replies`, with the worker's number as id, and `text` as a Block; NULL: no Block. Without memory
 * the report is lost. But a report of the failure or end of a worker is never lost, because the dispatcher waits for
 * it: the worker keeps a message for it. Needs no GIL. */
void owngil_worker_report(owngil_worker *self, owngil_message_kind kind, const char *text);

/* Returns the lines, a list of str, as one UTF-8 bytes object for a report; or NULL with an exception. Needs the
 * GIL. */
PyObject *owngil_worker_join_lines(PyObject *lines);

/* A worker: an OS thread with an interpreter and a GIL of its own, from its start to its end.
 *
 * The interpreter is made, used and ended on one and the same thread, and with one and the same thread state: on 3.12
 * threading's shutdown hangs otherwise.
 */
#ifndef OWNGIL_INTERP_H
#define OWNGIL_INTERP_H

#include "workers/timers.h"
#include "loader/copies.h"
#include "base/atfork.h"
#include "cpython/large_objects.h"
#include "messaging/queue.h"
#include "tracing/counters.h"
#include "tracing/recorder.h"

/* The kind of a message among a worker's tasks that is none, but ends the worker. */
enum { OWNGIL_TASK_END = 6 };

/* The id of what a worker runs before its first task, preloads and the initializer: it is stopped as a task is, and none. */
#define OWNGIL_TASK_START ((uint64_t)INT64_MAX)

/* What the core itself reports through a worker's `replies`, with the worker's number as id; other kinds are the Python code's. */
enum {
    OWNGIL_REPLY_EXITED = 1, /* the last word of a worker: its interpreter has ended */
    OWNGIL_REPLY_FAILED = 2, /* one Block, UTF-8: why the worker stopped before its time; EXITED follows */
    OWNGIL_REPLY_KEPT = 3,   /* instead of EXITED: threads of its own keep its interpreter alive until exit */
    OWNGIL_REPLY_RESULT = 4, /* the Python code's, which the core must know: the result of a task */
    OWNGIL_REPLY_STUCK = 5,  /* one Block: the stack of a task that does not notice its interrupt, see stopping.c */
    OWNGIL_REPLY_STUCK_START = 7, /* as STUCK, of what comes before the first task */
};

/* An interrupt of which it is not known yet whether it was noticed; what `grace_alarm` is set for. */
typedef struct {
    uint64_t task, limit; /* what it is for: a task, and the call with a limit in there, or 0: any */
    int64_t since;        /* when it was sent, by owngil_tally_now() */
    uint64_t serial;      /* another for each */
    double grace;         /* seconds */
    bool unsent;          /* no thread could be had for it: to be tried again */
    bool looked, reported;/* a thread was sent to look what the worker does; the dispatcher was told */
} owngil_doubt;

typedef struct owngil_worker {
    owngil_shared base;
    /* Set before the thread starts, constant from then on. */
    char *name;
    uint64_t number;        /* the id of its reports */
    char *bootstrap;        /* Python source, UTF-8 */
    owngil_message *setup;
    owngil_queue *tasks, *replies;
    pthread_t thread;
    /* Atomic. */
    _Atomic(PyInterpreterState *) own_interp; /* NULL before its start and after its end; to compare with, no more */
    _Atomic int64_t interpreter_id;      /* -1 before there is one */
    _Atomic uint64_t task;               /* what it is running, 0: nothing; written with the worker's GIL held */
    atomic_bool joined;                  /* or to be joined by owngil_runtime_exit */
    atomic_bool stopped;                 /* it runs no more tasks: each fails as it begins */
    owngil_tally tally;
    struct {                             /* what it is doing, for a recording */
        _Atomic uint64_t task;           /* 0: none */
        _Atomic int64_t times[4], bytes; /* see owngil_event */
        owngil_trace_slot name, row;
    } doing;
    _Atomic uint64_t limit;              /* number of the call with a limit that it is in, or 0; as `task` */
    _Atomic double limit_grace;          /* of that call; a late alarm may look at the next one's */
    /* Guarded by `lock`. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    PyInterpreterState *interp;          /* NULL before its start and from the beginning of its end */
    size_t visitors;                     /* threads that are about to be in there */
    struct owngil_visit *visits;         /* of stopping.c: interrupts that are on their way */
    owngil_doubt doubt;
    struct owngil_visitor *inside;       /* those that came in by PyGILState_Ensure() */
    struct owngil_worker *next;          /* in the list of those that live; guarded by that one's lock */
    /* Of the worker's thread. */
    unsigned long ident;
    uint64_t limits;                     /* calls with a limit, so far */
    owngil_message *request;             /* the task that it took last, until it answers; owned */
    int64_t calls, failed;               /* of the calls that its task made; see count_calls() */
    owngil_parking parking;
    owngil_heap heap;
    /* Their own locks inside. */
    owngil_alarm limit_alarm, grace_alarm;
    owngil_copies copies;
} owngil_worker;

/* Starts a worker's thread, which runs `bootstrap` in the new interpreter. Takes references of its own to `setup`,
 * `tasks` and `replies`. Returns NULL with *error an errno when there is no memory or no thread. Needs no GIL. */
owngil_worker *owngil_interp_start(const char *name, uint64_t number, const char *bootstrap,
                                   owngil_message *setup, owngil_queue *tasks, owngil_queue *replies, int *error);

/* The worker whose own thread this is, or NULL. */
owngil_worker *owngil_interp_current(void);

/* The worker whose interpreter the calling thread is in; NULL: the main one, or none. */
owngil_worker *owngil_interp_of_thread(void);

/* Calls `visit` with each worker that has an interpreter, which must not lock anything but trace.c's. Needs no GIL. */
void owngil_interp_visit_living(void (*visit)(owngil_worker *));

/* How many workers have an interpreter. */
size_t owngil_interp_count(void);

/* Keeps the worker's interpreter from ending until owngil_interp_leave(). Returns NULL when its end has begun. */
PyInterpreterState *owngil_interp_enter(owngil_worker *self);
void owngil_interp_leave(owngil_worker *self);

/* A thread from outside that is in the worker's interpreter. Its C code need not be able to deal with SystemExit: what
 * PyErr_Print() does with that is to end the process. */
typedef struct owngil_visitor {
    struct owngil_visitor *next;
    PyThreadState *tstate;
} owngil_visitor;

/* Between owngil_interp_enter() and _leave(); and before the thread state is deleted. */
void owngil_interp_add_visitor(owngil_worker *self, owngil_visitor *visitor);
void owngil_interp_remove_visitor(owngil_worker *self, const owngil_visitor *visitor);

/* Waits until the thread is gone, which it is soon after EXITED; then unloads the worker's private copies and frees the
 * memory that its interpreter left. Needs a GIL, of any interpreter but the worker's, and lets go of it meanwhile. */
void owngil_interp_join(owngil_worker *self);

/* The last atexit function of a worker's interpreter: what must be done before Py_EndInterpreter goes on. Returns when
 * the interpreter's other threads are gone, or the process exits. Needs the GIL, on the worker's own thread. */
void owngil_interp_before_end(owngil_worker *self);

/* See fork.h: in the child no worker lives. */
void owngil_interp_fork(owngil_fork_step step);

#endif

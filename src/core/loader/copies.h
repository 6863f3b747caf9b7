/* The private copies of one worker: loads them, mends what they take from elsewhere, and unloads them at its end.
 *
 * Unloading waits until the worker's thread is gone. A copy stays for ever, with its memory, when something outside of
 * the worker may still call it: a thread that it started, a signal handler, an audit hook.
 */
#ifndef OWNGIL_COPIES_H
#define OWNGIL_COPIES_H

#include "loader/elf/load.h"

#include <pthread.h>

typedef struct owngil_copy {
    struct owngil_copy *next; /* loaded before this one, or not loaded */
    owngil_loaded loaded;
    bool stays;               /* guarded by the owner's lock */
    size_t group;             /* the same number for copies of which one needs the other: they go or stay together */
} owngil_copy;

/* A key of thread-specific data. */
typedef struct {
    pthread_key_t key;
    const void *destroy; /* function that is called with each thread's value; NULL: none */
} owngil_key;

/* A thread that a copy starts. */
typedef struct {
    void *(*start)(void *); /* of pthread_create(), or of the others: */
    int (*start_c11)(void *);
    void (*start_python)(void *);
    void *argument;
    struct owngil_worker *worker;
} owngil_thread;

typedef struct {
    pthread_mutex_t lock;     /* a leaf */
    owngil_copy *newest;      /* loaded last; those that are not loaded yet come behind those that are */
    void (**at_exit)(void);   /* that copies passed to Py_AtExit(); guarded by the lock */
    size_t at_exit_count;
    owngil_loaded shim;       /* .handle NULL: not loaded yet */
    owngil_key *keys;         /* that copies made and did not delete; guarded by the lock */
    size_t key_count, key_room;
    size_t groups;            /* numbers of groups that were given out */
    pid_t *threads;           /* that copies started, ended ones too; guarded by the lock */
    size_t thread_count, thread_room;
    bool lost_threads;        /* there are more: no memory to remember them */
} owngil_copies;

struct owngil_worker;

void owngil_copies_init(owngil_copies *self);

/* Reserves a copy for `worker`, of which `self` is part; owngil_elf_write() comes next. Returns NULL with `why` filled
 * in. Needs the GIL of the worker's interpreter, as the next one does. */
owngil_copy *owngil_copies_reserve(owngil_copies *self, struct owngil_worker *worker, const char *path,
                                   const char *const *directories, char *why, size_t why_size);

/* Loads a copy that was written with these renames. Returns 0, or -1 with `why` filled in. */
int owngil_copies_load(owngil_copies *self, owngil_copy *copy, char *why, size_t why_size);

/* Forgets a copy that is not loaded, and will not be. */
void owngil_copies_discard(owngil_copies *self, owngil_copy *copy);

/* The group of the copy called `name` becomes that of `copy` too. */
void owngil_copies_join(owngil_copies *self, owngil_copy *copy, const char *name);

/* Runs the destructors of the calling thread's values for keys that copies made, which may still need the interpreter.
 * Call on the worker's thread with its GIL, when nobody runs Python code there any more. */
void owngil_copies_end_thread(owngil_copies *self);

/* Calls what copies passed to Py_AtExit(). Call when the interpreter has ended, on the worker's thread. */
void owngil_copies_exit(owngil_copies *self);

/* Decides what stays, and lets CPython forget the rest. Call when the worker's thread is gone, with a GIL. */
void owngil_copies_settle(owngil_copies *self);

/* Unloads the rest. Returns whether nothing is left that may still use the worker. Call after that, without a GIL. */
bool owngil_copies_unload(owngil_copies *self);

/* Whether no thread that copies started can be reading or writing the interpreter's memory: those that live all sleep,
 * as the threads of a pool do between its tasks. Call after unloading. Needs no GIL. */
bool owngil_copies_are_idle(owngil_copies *self);

/* Returns what a new thread can call one of the others with, or NULL; drop it if there is no thread after all. The
 * thread tells its number, and does what it is for. */
owngil_thread *owngil_copies_new_thread(owngil_thread thread);
void owngil_copies_drop_thread(owngil_thread *self);
void *owngil_copies_run_thread(void *self);
int owngil_copies_run_c11_thread(void *self);
void owngil_copies_run_python_thread(void *self);

/* Remembers a thread that a copy has started. */
void owngil_copies_add_thread(owngil_copies *self, pid_t thread);

/* Keeps the copy that `address` belongs to loaded for ever. Needs no GIL. */
void owngil_copies_keep(owngil_copies *self, const void *address);

/* Remembers what a copy passed to Py_AtExit(). Returns 0, or -1: no memory. */
int owngil_copies_add_exit(owngil_copies *self, void (*function)(void));

/* Remembers a key of thread-specific data that a copy made, or forgets one that it deleted. */
void owngil_copies_add_key(owngil_copies *self, pthread_key_t key, const void *destroy);
void owngil_copies_remove_key(owngil_copies *self, pthread_key_t key);

#endif

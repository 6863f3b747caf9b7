/* The private copies of one worker: loads them, redirects what they take from elsewhere, and unloads them at its end.
 *
 * Unloading waits until the worker's thread is gone. A copy is pinned, that is, loaded for ever with its memory, when
 * something outside of the worker may still call it: a thread that it started, a signal handler, an audit hook.
 */
#pragma once

#include "loader/elf/load.h"
#include "loader/shim/interface.h"
#include "loader/threads.h"

#include <pthread.h>

typedef struct owngil_copy {
    struct owngil_copy *next; /* loaded before this one, or not loaded */
    owngil_loaded loaded;
    bool pinned;              /* guarded by the lock of its owngil_copies */
    size_t group;             /* the same number for copies of which one needs the other: they are pinned together */
} owngil_copy;

/* A key of thread-specific data. */
typedef struct {
    pthread_key_t key;
    const void *destroy; /* function that is called with each thread's value; NULL: none */
} owngil_key;

typedef struct owngil_copies {
    owngil_refcounted *owner;             /* the worker that this is a part of; this and the next are constant */
    const owngil_guest_functions *guests;
    pthread_mutex_t lock;     /* a leaf */
    owngil_copy *newest;      /* loaded last; those that are not loaded yet come behind those that are */
    void (**at_exit)(void);   /* that copies passed to Py_AtExit(); guarded by the lock */
    size_t at_exit_count;
    owngil_loaded shim;       /* .handle NULL: not loaded yet */
    owngil_key *keys;         /* that copies made and did not delete; guarded by the lock */
    size_t key_count, key_room;
    size_t groups;            /* numbers of groups that were given out */
    owngil_threads threads;
} owngil_copies;

void owngil_copies_init(owngil_copies *self, owngil_refcounted *owner, const owngil_guest_functions *guests);
void owngil_copies_clear(owngil_copies *self);

/* Reserves a copy; owngil_load_write() comes next. Returns NULL with `why` filled in. Needs the GIL of the worker's
 * interpreter, as the next one does. */
owngil_copy *owngil_copies_reserve(owngil_copies *self, const char *path, const char *const *directories, char *why,
                                   size_t why_size);

/* Loads a copy that was written with these renames. Returns 0, or -1 with `why` filled in. */
int owngil_copies_load(owngil_copies *self, owngil_copy *copy, char *why, size_t why_size);

/* Forgets a copy that is not loaded, and will not be. */
void owngil_copies_discard(owngil_copies *self, owngil_copy *copy);

/* Puts the copy called `name`, and its group, into the group of `copy`. */
void owngil_copies_group(owngil_copies *self, owngil_copy *copy, const char *name);

/* Runs the destructors of the calling thread's values for keys that copies made, which may still need the interpreter.
 * Call on the worker's thread with its GIL, when no other thread runs Python code there any more. */
void owngil_copies_end_thread(owngil_copies *self);

/* Calls what copies passed to Py_AtExit(). Call when the interpreter has ended, on the worker's thread. */
void owngil_copies_exit(owngil_copies *self);

/* Decides which copies are pinned. `forget` lets CPython forget its pointers to the structs whose addresses `goes` is true
 * for; it returns false when it cannot. Call when the worker's thread is gone, with a GIL. */
void owngil_copies_decide(owngil_copies *self,
                          bool (*forget)(bool (*goes)(const void *context, const void *address), const void *context));

/* Unloads all but the pinned ones. Returns whether nothing is left that may still use the worker. Call after that, without a
 * GIL. */
bool owngil_copies_unload(owngil_copies *self);

/* Pins the copy that `address` belongs to, and returns the path of its original; NULL if it belongs to none. Needs no GIL. */
const char *owngil_copies_pin(owngil_copies *self, const void *address);

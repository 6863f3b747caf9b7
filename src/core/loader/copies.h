/* The private copies of one worker: loads them, redirects some of their symbols to the shim, and unloads them at the
 * worker's end.
 *
 * Copies are unloaded when the worker's thread has ended. A copy is pinned, that is, stays loaded for ever with its
 * memory, when something outside of the worker may still call it or use its memory: a thread that it started, a signal
 * handler, what pinning.h lists.
 */
#pragma once

#include "loader/elf/load.h"
#include "loader/shim/interface.h"
#include "loader/threads.h"

#include <pthread.h>

typedef struct owngil_copy {
    struct owngil_copy *next; /* loaded before this one, unless one of them is not loaded yet */
    owngil_loaded loaded;
    bool pinned;              /* guarded by the lock of its owngil_copies */
    bool ends;                /* its destructors run; set by owngil_copies_decide() */
    size_t group;             /* copies that need one another have the same number: they are pinned together */
} owngil_copy;

/* A key of thread-specific data. */
typedef struct {
    pthread_key_t key;
    const void *destroy; /* destructor for each thread's value; NULL: none */
} owngil_key;

typedef struct owngil_copies {
    owngil_refcounted *owner; /* the worker that this is a part of; this and the next are constant */
    const owngil_guest_functions *guests;
    pthread_mutex_t lock;   /* a leaf */
    owngil_copy *newest;    /* loaded last, unless it is not loaded yet */
    void (**at_exit)(void); /* the functions that copies passed to Py_AtExit(); guarded by the lock */
    size_t at_exit_count;
    owngil_loaded shim;     /* .handle NULL: not loaded yet */
    owngil_key *keys;       /* the keys that copies made and did not delete; guarded by the lock */
    size_t key_count;
    size_t groups;          /* the largest number of a group so far */
    owngil_threads threads;
} owngil_copies;

void owngil_copies_init(owngil_copies *self, owngil_refcounted *owner, const owngil_guest_functions *guests);
void owngil_copies_clear(owngil_copies *self);

/* Reserves a copy, for owngil_load_write(). Returns NULL with `why` filled in if that fails. This function and the next
 * need the worker's GIL. */
owngil_copy *owngil_copies_reserve(owngil_copies *self, const char *path, const char *const *directories, char *why,
                                   size_t why_size);

/* Returns the copy whose struct is at `address`, or NULL. */
owngil_copy *owngil_copies_find(owngil_copies *self, uintptr_t address);

/* Loads copies that were written and that need one another: all or none. Returns 0, or -1 with `why` filled in. */
int owngil_copies_load(owngil_copies *self, owngil_copy *const *copies, size_t count, char *why, size_t why_size);

/* Frees a copy that is not loaded, and will not be. A loaded one stays. */
void owngil_copies_discard(owngil_copies *self, owngil_copy *copy);

/* Puts the copy called `name`, if there is one, and its group into the group of `copy`. */
void owngil_copies_group(owngil_copies *self, owngil_copy *copy, const char *name);

/* Runs the destructors of the calling thread's values for keys that copies made: they may still need the interpreter.
 * Call it on the worker's own thread with its GIL, when no other thread runs Python code there any more. */
void owngil_copies_end_thread(owngil_copies *self);

/* Calls the functions that copies passed to Py_AtExit(). Call it when the interpreter has ended, on the worker's own
 * thread. */
void owngil_copies_exit(owngil_copies *self);

/* Decides which copies are pinned. `forget` makes CPython forget its pointers to the structs for whose address
 * is_unloadable() returns true; `forget` returns false when it cannot. Call it when the worker's thread has ended, with
 * a GIL. */
void owngil_copies_decide(owngil_copies *self,
                          bool (*forget)(bool (*is_unloadable)(const void *context, const void *address),
                                         const void *context));

/* Unloads all but the pinned copies. Returns whether there is no pinned copy, which might still use the worker. Call it
 * after owngil_copies_decide(), without a GIL. */
bool owngil_copies_unload(owngil_copies *self);

/* The private copies of one worker: loads them, mends what they take from elsewhere, and unloads them at its end.
 *
 * Unloading waits until the worker's thread is gone. A copy stays for ever, with its memory, when something outside of
 * the worker may still call it: a thread that it started, a signal handler, a function to be called at exit.
 */
#ifndef OWNGIL_COPIES_H
#define OWNGIL_COPIES_H

#include "elf_load.h"

#include <pthread.h>

typedef struct owngil_copy {
    struct owngil_copy *next; /* loaded before this one */
    owngil_loaded loaded;
    bool stays;               /* guarded by the owner's lock */
    size_t group;             /* the same number for copies of which one needs the other: they go or stay together */
} owngil_copy;

typedef struct {
    pthread_mutex_t lock;     /* a leaf */
    owngil_copy *newest;      /* changed by the worker's interpreter, with its GIL, and the lock */
    owngil_loaded shim;       /* .handle NULL: not loaded yet */
    pthread_key_t *keys;      /* that copies made and did not delete; guarded by the lock */
    size_t key_count, key_room;
    size_t groups;            /* numbers of groups that were given out */
} owngil_copies;

struct owngil_worker;

void owngil_copies_init(owngil_copies *self);

/* Loads a copy for `worker`, of which `self` is part. Returns NULL with `why` filled in. Needs the GIL of the worker's
 * interpreter. */
owngil_copy *owngil_copies_load(owngil_copies *self, struct owngil_worker *worker, const owngil_load_request *request,
                                char *why, size_t why_size);

/* Unloads what can be unloaded. Returns whether nothing is left that may still use the worker. Call when the worker's
 * thread is gone, without a GIL. */
bool owngil_copies_unload(owngil_copies *self);

/* Keeps the copy that `address` belongs to loaded for ever. Needs no GIL. */
void owngil_copies_keep(owngil_copies *self, const void *address);

/* Remembers a key of thread-specific data that a copy made, or forgets one that it deleted. */
void owngil_copies_add_key(owngil_copies *self, pthread_key_t key);
void owngil_copies_remove_key(owngil_copies *self, pthread_key_t key);

#endif

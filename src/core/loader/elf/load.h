/* Loads a private copy of a shared library: the same code, but C statics of its own.
 *
 * glibc tells libraries apart by name, by SONAME, and by device and inode. A private copy therefore is an anonymous
 * file, without a SONAME, under a name that no other library has: "/proc/self/fd/7", each time with a different number
 * of "./" and ".//" in it. Nothing of the file is left when the process ends, however it ends, and no other process can
 * reach it. Once a copy is loaded, its read-only segments are mapped again from the original: copies share their text
 * with each other and with other processes.
 */
#pragma once

#include "loader/elf/patch.h"

/* A symbol that copies take from elsewhere than the original does. */
typedef struct {
    const char *name;
    void *to;
    void **original; /* where to store the address that the original would use, unless there is one; or NULL */
} owngil_redirection;

/* A copy, made in four steps. */
typedef struct {
    /* From owngil_load_reserve(): */
    char *name;           /* by which another copy can need this one */
    char *path;           /* what dladdr() calls it: the original's path in a spelling of its own */
    int source, file;     /* descriptors of the original and the copy; -1 once it is started */
    owngil_patch patch;   /* cleared once it is started */
    bool written;         /* by owngil_load_write(), or as far as it came */
    /* From owngil_load_open(): */
    void *handle;         /* as dlopen() returns; NULL: not loaded */
    struct link_map *map;
    char *loader_name;    /* the dynamic loader's own name for it */
    uintptr_t start, end; /* addresses */
    void (*fini)(void); /* destructor, called after those of `fini_array`, which are called last to first; NULL: none */
    void (**fini_array)(void);
    size_t fini_count;
    bool uses_parsers; /* it imports functions that take a _PyArg_Parser */
    bool started; /* by owngil_load_start() */
} owngil_loaded;

/* Reads the library in the file `path` and makes a nameless file for its copy: in memory, or else in the first of
 * `directories` (ends in NULL) that has the room and lets libraries be loaded from there. Returns 0, or -1 with a
 * sentence in `why`. Call owngil_load_clear() in both cases. */
int owngil_load_reserve(owngil_loaded *self, const char *path, const char *const *directories, char *why,
                        size_t why_size);

/* Writes the copy, once. From now on, copies that are loaded can need it. Returns as above. */
int owngil_load_write(owngil_loaded *self, const owngil_rename *renames, size_t count, char *why, size_t why_size);

/* Loads the copy, unless it is loaded, without its constructors. Returns as above. Needs no GIL, nor do the next ones. */
int owngil_load_open(owngil_loaded *self, const owngil_redirection *redirections, size_t redirection_count, char *why,
                     size_t why_size);

/* Runs the constructors of a copy that is loaded, once. Copies that need one another are all loaded before: constructors
 * of one may call functions of another, whose references must have been redirected. */
void owngil_load_start(owngil_loaded *self);

/* Unloads the copy, unless it was started. It may be loaded again. */
void owngil_load_cancel(owngil_loaded *self);

/* Runs the copy's destructors. dlclose() would run them and unmap the library at once; but the destructors of one
 * library may call functions of another whose destructors have already run, as at the exit of a process. */
void owngil_load_finish(const owngil_loaded *self);

/* Unloads the copy, if it is loaded, after owngil_load_finish(), and frees all that belongs to it. */
void owngil_load_clear(owngil_loaded *self);

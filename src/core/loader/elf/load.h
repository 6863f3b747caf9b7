/* Loads a private copy of a shared library: the same code, but C statics of its own.
 *
 * glibc tells libraries apart by name, by SONAME, and by device and inode. The copy therefore is an anonymous file,
 * without a SONAME, under a name that no other has: "/proc/self/fd/7", spelled with a different number of "./" and ".//"
 * each time. Nothing of it is left anywhere when the process ends, however it ends, and nobody else can reach it.
 * Once it is loaded, its read-only segments are mapped again from the original: copies share their text with each
 * other and with other processes.
 */
#pragma once

#include "loader/elf/patch.h"

/* A symbol that copies take from elsewhere than the original does. */
typedef struct {
    const char *name;
    void *to;
    void *from; /* filled in: what it would have been; NULL: nobody asked for it */
} owngil_redirection;

/* A copy, in the three steps of its making. */
typedef struct {
    /* From owngil_load_reserve(): */
    char *name;            /* by which another copy can need this one */
    char *path;            /* what dladdr() calls it: the original, spelled as nobody else does */
    int source, file;      /* descriptors of the original and the copy; -1 once it is loaded */
    owngil_patch edit;      /* cleared once it is loaded */
    /* From owngil_load_open(): */
    void *handle;          /* as dlopen() returns; NULL: not loaded */
    struct link_map *map;
    char *loader_name;     /* the dynamic loader's own */
    uintptr_t start, end;  /* addresses */
    void (*fini)(void);    /* ends it, after `fini_array` from its end to its start; NULL: nothing */
    void (**fini_array)(void);
    size_t fini_count;
    bool uses_parsers;     /* it imports functions that take a _PyArg_Parser */
} owngil_loaded;

/* Reads the library in the file `path` and makes a nameless file for its copy: in memory, or else in the first of
 * `directories` (ends in NULL) that has the room and lets libraries be loaded from there. Returns 0, or -1 with `why` (a
 * sentence) filled in. owngil_load_clear() is due in both cases. */
int owngil_load_reserve(owngil_loaded *self, const char *path, const char *const *directories, char *why,
                        size_t why_size);

/* Writes the copy. It can be needed from now on by those that are loaded. Returns as above. */
int owngil_load_write(owngil_loaded *self, const owngil_rename *renames, size_t count, char *why, size_t why_size);

/* Loads it, which runs its constructors. Returns as above. Needs no GIL. */
int owngil_load_open(owngil_loaded *self, owngil_redirection *redirections, size_t redirection_count, char *why,
                     size_t why_size);

/* Runs its destructors. dlclose() would run them and unmap the library at once; but as at the exit of a process, the
 * destructors of one library may call functions of another that has been through this before. */
void owngil_load_finish(const owngil_loaded *self);

/* Unloads it, if it is loaded, after owngil_load_finish(), and frees all that belongs to it. */
void owngil_load_clear(owngil_loaded *self);

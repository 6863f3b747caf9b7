/* Loads a private copy of a shared library: the same code, but C statics of its own.
 *
 * glibc tells libraries apart by name, by SONAME, and by device and inode. The copy therefore is an anonymous file,
 * without a SONAME, under a name that no other has: "/proc/self/fd/7", spelled with a different number of "./" and ".//"
 * each time. Nothing of it is left anywhere when the process ends, however it ends, and nobody else can reach it.
 * Once it is loaded, its read-only segments are mapped again from the original: copies share their text with each
 * other and with other processes.
 */
#ifndef OWNGIL_ELF_LOAD_H
#define OWNGIL_ELF_LOAD_H

#include "elf_edit.h"

typedef struct {
    const char *path;               /* of the original */
    const owngil_rename *renames;   /* what the copy needs instead of what the original needs */
    size_t rename_count;
    const char *const *directories; /* where the copy may lie if no file in memory can be had; ends in NULL */
} owngil_load_request;

/* A symbol that copies take from elsewhere than the original does. */
typedef struct {
    const char *name;
    void *to;
    void *from; /* filled in: what it would have been; NULL: nobody asked for it */
} owngil_redirection;

typedef struct {
    void *handle;          /* as dlopen() returns; owngil_elf_unload() closes it */
    struct link_map *map;
    char *name;            /* by which another copy can need this one; malloc'ed */
    char *path;            /* what dladdr() calls it: the original, spelled as nobody else does; malloc'ed */
    char *loader_name;     /* the dynamic loader's own */
    uintptr_t start, end;  /* addresses */
    void (*fini)(void);    /* ends it, after `fini_array` from its end to its start; NULL: nothing */
    void (**fini_array)(void);
    size_t fini_count;
} owngil_loaded;

/* Fills `self`. Returns 0, or -1 with `why` (a sentence) filled in. The library's constructors run in here. Needs no
 * GIL, but two threads may load at the same time only for different workers. */
int owngil_elf_load(owngil_loaded *self, const owngil_load_request *request, owngil_redirection *redirections,
                    size_t redirection_count, char *why, size_t why_size);

/* Runs its destructors. dlclose() would run them and unmap the library at once; but as at the exit of a process, the
 * destructors of one library may call functions of another that has been through this before. */
void owngil_elf_finish(const owngil_loaded *self);

/* Unloads it, after owngil_elf_finish(), and frees what owngil_elf_load() allocated. */
void owngil_elf_unload(owngil_loaded *self);

#endif

/* Reads the parts of a shared library that the loader needs: segments, needed libraries and where to look for them,
 * symbols, relocations. checks.h looks at what only the dynamic loader needs.
 *
 * Sources: System V gABI, chapters 4 and 5; the GNU hash table as glibc's elf/dl-lookup.c reads it. Every offset is
 * checked against the size of the image: a cut-off or hostile file is refused, never followed.
 */
#pragma once

#include "base/compat.h"
#include <link.h>
#include <stdbool.h>

typedef struct {
    const char *image; /* borrowed */
    size_t size;
    const ElfW(Phdr) * segments;
    size_t segment_count;
    size_t load_end; /* offset of the first byte that no PT_LOAD segment covers or precedes */
    ElfW(Addr) memory_end; /* the first address behind all PT_LOAD segments */
    ElfW(Addr) relro, relro_end; /* addresses of the part that is read-only once relocated; 0, 0: none */
    const ElfW(Dyn) * dynamic; /* NULL: none */
    ElfW(Addr) dynamic_address;
    size_t dynamic_count; /* without DT_NULL, which ends them */
    const char *strings; /* ends in a NUL byte; NULL: none */
    size_t strings_size;
    ElfW(Addr) strings_address;
    const ElfW(Sym) * symbols; /* NULL: none */
    size_t symbol_count;
    const ElfW(Rela) * relocations[2]; /* DT_RELA's and DT_JMPREL's; NULL: none */
    size_t relocation_count[2];
    ElfW(Addr) init, fini; /* addresses of a constructor and a destructor; 0: none */
    ElfW(Addr) init_array, fini_array; /* addresses of tables of more of them */
    size_t init_count, fini_count;
    bool text_relocations; /* the read-only segments change when they are loaded */
    bool no_delete; /* DF_1_NODELETE: asks never to be unloaded */
} owngil_image;

/* Fills `self` from an image in memory. Returns NULL, or a (static) sentence that says why it cannot be loaded. */
const char *owngil_image_read(owngil_image *self, const void *image, size_t size);

/* Returns the segment that is loaded at `address`, or NULL. */
const ElfW(Phdr) * owngil_image_segment_at(const owngil_image *self, ElfW(Addr) address);

/* Returns `size` bytes that will be loaded at `address`, or NULL when they are not all in one segment or not aligned. */
const void *owngil_image_at(const owngil_image *self, ElfW(Addr) address, size_t size, size_t alignment);

/* Finds the value of the dynamic entry `tag`: of the last one, as the dynamic loader does. Returns whether there is one;
 * if not, `*value` stays the same. */
bool owngil_image_find(const owngil_image *self, ElfW(Sxword) tag, ElfW(Xword) * value);

/* Returns the string at `offset` in the string table, or NULL when it has none there. */
const char *owngil_image_string_at(const owngil_image *self, size_t offset);

/* Returns the string of the dynamic entry `tag`, or NULL. */
const char *owngil_image_string(const owngil_image *self, ElfW(Sxword) tag);

/* Returns the name of the next needed library, or NULL: no more. `*k` starts at 0. */
const char *owngil_image_needed(const owngil_image *self, size_t *k);

/* Returns the name of symbol `number`, which is less than `symbol_count`; "" if it has none. */
const char *owngil_image_symbol_name(const owngil_image *self, size_t number);

/* Returns the name of the next symbol that the library takes from elsewhere, "" if it has no name, or NULL: no more.
 * `*k`, which starts at 0, becomes the symbol's number. */
const char *owngil_image_next_import(const owngil_image *self, size_t *k);

/* Returns the need of symbol versions at `*address`, which becomes the address of the next one, or 0: no more. Returns
 * NULL if `*address` is 0, or no part of the library. The first one is at DT_VERNEED. */
const ElfW(Verneed) * owngil_image_version_need(const owngil_image *self, ElfW(Addr) * address);

/* Whether the library takes a symbol from Python's C API. */
bool owngil_image_uses_python(const owngil_image *self);

/* Returns the bytes of variables: of memory that is writable once the library is relocated. */
size_t owngil_image_state_size(const owngil_image *self);

/* Reads what the loader needs to know of a shared library: segments, needed libraries and where to look for them.
 *
 * Source: System V gABI, chapters 4 and 5. Every offset is checked against the size of the image: a cut-off or
 * hostile file is refused, never followed.
 */
#ifndef OWNGIL_ELF_READ_H
#define OWNGIL_ELF_READ_H

#include "compat.h"
#include <link.h>
#include <stdbool.h>

typedef struct {
    const char *image;        /* borrowed */
    size_t size;
    const ElfW(Phdr) *segments;
    size_t segment_count;
    size_t load_end;          /* offset of the first byte that no PT_LOAD segment covers or precedes */
    const ElfW(Dyn) *dynamic; /* NULL: none */
    size_t dynamic_count;
    const char *strings;      /* ends in a NUL byte; NULL: none */
    size_t strings_size;
    bool text_relocations;    /* the read-only segments change when they are loaded */
} owngil_elf;

/* Fills `self` from an image in memory. Returns NULL, or a sentence (static) on why it cannot be loaded. */
const char *owngil_elf_read(owngil_elf *self, const void *image, size_t size);

/* The string of the `k`-th dynamic entry with `tag`, or NULL when there are fewer. */
const char *owngil_elf_string(const owngil_elf *self, ElfW(Sxword) tag, size_t k);

#endif

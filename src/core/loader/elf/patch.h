/* Patches a library's image in memory for a private copy: gives other names to the libraries that it needs, and removes
 * the name by which others could find it.
 *
 * Names that do not fit in place go into an additional segment behind all others, together with a new table of program
 * headers. Only the changed pages differ from the original.
 */
#pragma once

#include "loader/elf/image.h"

typedef struct {
    const char *from, *to;
} owngil_rename;

typedef struct {
    owngil_image elf; /* of `original`; what has been checked there stays so, whichever tables overlap */
    const char *original; /* NULL: not mapped */
    char *copy; /* the file once more, mapped privately: changes stay in memory; NULL: not mapped */
    size_t size;
    size_t page; /* bytes of a page */
    unsigned char *changed; /* one byte for each page of the image: whether it differs from the original */
    char *tail; /* the additional segment; NULL: none */
    size_t tail_offset, tail_size;
} owngil_patch;

/* Maps and reads the open file `fd`. Returns NULL, or a sentence (static, or from strerror) that says why it cannot be
 * loaded. Call owngil_patch_clear() in both cases. */
const char *owngil_patch_init(owngil_patch *self, int fd);
void owngil_patch_clear(owngil_patch *self);

/* Makes the changes that every copy needs; and where the original needs the library `from`, the copy will need `to`.
 * Returns NULL, or a sentence as above. */
const char *owngil_patch_apply(owngil_patch *self, const owngil_rename *renames, size_t count);

/* Writes the copy to `fd`. Returns 0 or an errno. */
int owngil_patch_write(const owngil_patch *self, int fd);

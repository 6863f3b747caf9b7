/* Changes a library's image for a private copy, in memory: other names for what it needs, and none by which others
 * could find it.
 *
 * What does not fit in place goes into a segment of its own behind all others, together with a new table of program
 * headers. Only the pages with changes differ from the original.
 */
#pragma once

#include "loader/elf/image.h"

typedef struct {
    const char *from, *to;
} owngil_rename;

typedef struct {
    owngil_image elf;          /* of `image` */
    char *image;             /* the original, mapped privately: changes stay in memory */
    size_t size;
    size_t page;             /* bytes of a page */
    unsigned char *changed;  /* one byte for each page of the image: whether it differs from the original */
    char *tail;              /* the segment behind the original's; NULL: none */
    size_t tail_offset, tail_size;
} owngil_patch;

/* Maps and reads the open file `fd`. Returns NULL, or a sentence (static, or from strerror) on why it cannot be
 * loaded. owngil_patch_clear() is due in both cases. */
const char *owngil_patch_init(owngil_patch *self, int fd);
void owngil_patch_clear(owngil_patch *self);

/* Makes the changes that every copy needs, and lets it need `to` wherever the original needs `from`. Returns false
 * when there is no memory. */
bool owngil_patch_apply(owngil_patch *self, const owngil_rename *renames, size_t count);

/* Writes the copy to `fd`. Returns 0 or an errno. */
int owngil_patch_write(const owngil_patch *self, int fd);

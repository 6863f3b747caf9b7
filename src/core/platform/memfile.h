/* Files without a name. */
#pragma once

#include <sys/types.h>

/* Opens a new file without a name in `directory`, or in memory if that is NULL. Returns a descriptor, or -1 with errno. */
int owngil_memfile_open(const char *directory, const char *label);

/* Gives the memory of a part of the file back to the system. It reads as zeros then. */
void owngil_memfile_drop(int fd, off_t start, off_t size);

/* Files without a name. */
#pragma once

#include <sys/types.h>

/* Opens a new nameless file in `directory`, or in memory if `directory` is NULL. The label of a file in memory is
 * visible in /proc/PID/maps. Returns a descriptor, or -1 with errno. */
int owngil_memfile_open(const char *directory, const char *label);

/* Returns the memory of a part of the file to the system. The part then reads as zeros. */
void owngil_memfile_drop(int fd, off_t start, off_t size);

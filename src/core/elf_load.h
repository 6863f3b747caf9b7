/* Loads a private copy of a shared library: one more instance of its static data, in the same process.
 *
 * The copy is an anonymous file in memory (memfd_create). It has no name that anybody else could write to, needs no
 * writable or executable file system, and goes with the process even when that is killed.
 *
 * What makes it a copy, all in glibc's terms (elf/dl-load.c):
 * - Libraries are told apart by device and inode: each anonymous file has its own.
 * - Before that, by name. The copy is opened as /proc/self/fd/N, and N is used again, so each name is written in
 *   another way (see unique_path).
 * - $ORIGIN is where the copy is, which leads nowhere. So the libraries that the original's RPATH or RUNPATH would
 *   lead to are loaded first, from their own places; the copy then finds them by SONAME, and all copies share them.
 *
 * After loading, the read-only segments are mapped again from the original file, so that all copies share the page
 * cache's one instance, and the anonymous file gives up those pages.
 */
#ifndef OWNGIL_ELF_LOAD_H
#define OWNGIL_ELF_LOAD_H

#include <stddef.h>

/* Returns dlopen's handle, or NULL with a sentence in `why`. Blocks for as long as reading the file takes. Needs no
 * GIL, but may be called with it. */
void *owngil_elf_load(const char *path, char *why, size_t why_size);

#endif

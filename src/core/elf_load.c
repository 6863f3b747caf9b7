#include "elf_load.h"

#include "elf_read.h"
#include "runtime.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_NEEDED = 64 };

typedef struct {
    const char *path;
    char *why;
    size_t why_size;
    int source, copy;               /* descriptors */
    void *image;                    /* the original, mapped */
    size_t size;
    owngil_elf elf;
    void *needed[MAX_NEEDED];       /* handles that keep the original's libraries loaded until the copy does */
    size_t needed_count;
} loading;

static void
explain(loading *self, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(self->why, self->why_size, format, arguments);
    va_end(arguments);
}

static int
open_original(loading *self)
{
    struct stat status;
    self->source = open(self->path, O_RDONLY | O_CLOEXEC);
    if (self->source < 0 || fstat(self->source, &status) < 0) {
        explain(self, "it cannot be read: %s", strerror(errno));
        return -1;
    }
    self->size = (size_t)status.st_size;
    if (self->size == 0) {
        explain(self, "it is empty");
        return -1;
    }
    self->image = mmap(NULL, self->size, PROT_READ, MAP_PRIVATE, self->source, 0);
    if (self->image == MAP_FAILED) {
        self->image = NULL;
        explain(self, "it cannot be mapped: %s", strerror(errno));
        return -1;
    }
    const char *damage = owngil_elf_read(&self->elf, self->image, self->size);
    if (damage != NULL) {
        explain(self, "%s", damage);
        return -1;
    }
    return 0;
}

static int
make_copy(loading *self)
{
    const char *name = strrchr(self->path, '/');
    char label[128]; /* what /proc/PID/maps and debuggers show */
    snprintf(label, sizeof(label), "owngil:%s", name != NULL ? name + 1 : self->path);
    self->copy = memfd_create(label, MFD_CLOEXEC);
    if (self->copy < 0) {
        explain(self, "no file in memory can be made for its copy: memfd_create: %s", strerror(errno));
        return -1;
    }
    /* What lies behind the last segment (symbols for debuggers) is never loaded. */
    const char *from = self->image;
    size_t left = self->elf.load_end;
    while (left > 0) {
        ssize_t written = write(self->copy, from, left);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            explain(self, "its copy in memory cannot be written: %s", strerror(errno));
            return -1;
        }
        from += written;
        left -= (size_t)written;
    }
    return 0;
}

/* Expands $ORIGIN in one directory of a search path. Returns false when it is too long or relative. */
static bool
expand(const loading *self, const char *entry, size_t length, char *out, size_t out_size)
{
    const char *slash = strrchr(self->path, '/');
    int origin = slash != NULL ? (int)(slash - self->path) : 0;
    static const char *const tokens[] = {"$ORIGIN", "${ORIGIN}"};
    for (size_t k = 0; k < 2; k++) {
        size_t token = strlen(tokens[k]);
        if (length >= token && strncmp(entry, tokens[k], token) == 0) {
            int count = snprintf(out, out_size, "%.*s%.*s", origin, self->path, (int)(length - token), entry + token);
            return count > 0 && (size_t)count < out_size;
        }
    }
    int count = snprintf(out, out_size, "%.*s", (int)length, entry);
    return length > 0 && entry[0] == '/' && (size_t)count < out_size;
}

/* Finds `name` in the directories of `search`, a list with colons. */
static bool
find_library(const loading *self, const char *search, const char *name, char *out, size_t out_size)
{
    char directory[PATH_MAX];
    for (const char *at = search; at != NULL;) {
        const char *colon = strchr(at, ':');
        size_t length = colon != NULL ? (size_t)(colon - at) : strlen(at);
        if (expand(self, at, length, directory, sizeof(directory))) {
            int count = snprintf(out, out_size, "%s/%s", directory, name);
            if (count > 0 && (size_t)count < out_size && access(out, R_OK) == 0) {
                return true;
            }
        }
        at = colon != NULL ? colon + 1 : NULL;
    }
    return false;
}

/* Loads what the original finds through its own search path. A library may need one that stands later in the list
 * (RPATH is inherited, and this order is not the linker's), so try until a round brings nothing new. */
static void
load_needed(loading *self)
{
    const char *search = owngil_elf_string(&self->elf, DT_RUNPATH, 0);
    if (search == NULL) {
        search = owngil_elf_string(&self->elf, DT_RPATH, 0);
    }
    if (search == NULL) {
        return;
    }
    bool loaded[MAX_NEEDED] = {false};
    for (bool progress = true; progress;) {
        progress = false;
        const char *name;
        for (size_t k = 0; k < MAX_NEEDED && (name = owngil_elf_string(&self->elf, DT_NEEDED, k)) != NULL; k++) {
            char path[PATH_MAX];
            if (loaded[k] || !find_library(self, search, name, path, sizeof(path))) {
                continue;
            }
            void *handle = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
            if (handle != NULL) { /* else the copy's own dlopen says what is missing */
                loaded[k] = progress = true;
                self->needed[self->needed_count++] = handle;
            }
        }
    }
}

/* Writes a path to the descriptor `fd` that no earlier call wrote: "." and one or two slashes change nothing for the
 * kernel, but the name. They are the binary digits of a number that is never used again. */
static void
unique_path(int fd, char *out, size_t out_size)
{
    size_t used = (size_t)snprintf(out, out_size, "/proc/self/fd/");
    for (uint64_t number = owngil_runtime_next_number(); number != 0; number >>= 1) {
        used += (size_t)snprintf(out + used, out_size - used, number & 1 ? ".//" : "./");
    }
    snprintf(out + used, out_size - used, "%d", fd);
}

/* Maps the read-only segments from the original. What fails leaves the copy's own pages, which are as good. */
static void
share_pages(loading *self, void *handle)
{
    struct link_map *map;
    if (self->elf.text_relocations || dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0) {
        return;
    }
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t k = 0; k < self->elf.segment_count; k++) {
        const ElfW(Phdr) *segment = &self->elf.segments[k];
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W) != 0 || segment->p_filesz != segment->p_memsz
            || segment->p_filesz == 0 || segment->p_offset % page != segment->p_vaddr % page) {
            continue;
        }
        uintptr_t start = (map->l_addr + segment->p_vaddr) & ~(page - 1);
        uintptr_t end = (map->l_addr + segment->p_vaddr + segment->p_filesz + page - 1) & ~(page - 1);
        off_t offset = (off_t)(segment->p_offset & ~(page - 1));
        int protection = ((segment->p_flags & PF_R) ? PROT_READ : 0) | ((segment->p_flags & PF_X) ? PROT_EXEC : 0);
        void *mapped = mmap((void *)start, end - start, protection, MAP_PRIVATE | MAP_FIXED, self->source, offset);
        if (mapped == MAP_FAILED) {
            continue;
        }
        /* The pages are of no more use, except those that the file shares with a neighbouring segment. */
        off_t first = (off_t)((segment->p_offset + page - 1) & ~(page - 1));
        off_t last = (off_t)((segment->p_offset + segment->p_filesz) & ~(page - 1));
        if (last > first) {
            (void)fallocate(self->copy, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, first, last - first);
        }
    }
}

void *
owngil_elf_load(const char *path, char *why, size_t why_size)
{
    loading self = {.path = path, .why = why, .why_size = why_size, .source = -1, .copy = -1};
    void *handle = NULL;
    if (open_original(&self) == 0 && make_copy(&self) == 0) {
        char name[PATH_MAX];
        load_needed(&self);
        unique_path(self.copy, name, sizeof(name));
        handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
        if (handle == NULL) {
            const char *error = dlerror();
            explain(&self, "the dynamic loader says: %s", error != NULL ? error : "nothing");
        }
        else {
            share_pages(&self, handle);
        }
    }
    for (size_t k = 0; k < self.needed_count; k++) {
        dlclose(self.needed[k]);
    }
    if (self.image != NULL) {
        munmap(self.image, self.size);
    }
    if (self.copy >= 0) {
        close(self.copy);
    }
    if (self.source >= 0) {
        close(self.source);
    }
    return handle;
}

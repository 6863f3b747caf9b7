#include "loader/elf/patch.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A tag in the range of operating systems that none has given a meaning: the dynamic loader passes over it. */
enum { IGNORED_TAG = 0x60000f00 };

static size_t
round_up(size_t value, size_t unit)
{
    return (value + unit - 1) / unit * unit;
}

const char *
owngil_patch_init(owngil_patch *self, int fd)
{
    *self = (owngil_patch){.page = (size_t)sysconf(_SC_PAGESIZE)};
    struct stat status;
    if (fstat(fd, &status) < 0) {
        return strerror(errno);
    }
    if (status.st_size == 0) {
        return "it is empty";
    }
    void *image = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (image == MAP_FAILED) {
        return strerror(errno);
    }
    self->image = image;
    self->size = (size_t)status.st_size;
    self->changed = calloc(self->size / self->page + 1, 1);
    if (self->changed == NULL) {
        return strerror(ENOMEM);
    }
    return owngil_image_read(&self->elf, image, self->size);
}

void
owngil_patch_clear(owngil_patch *self)
{
    if (self->image != NULL) {
        munmap(self->image, self->size);
    }
    free(self->changed);
    free(self->tail);
    *self = (owngil_patch){.image = NULL};
}

/* What the reader sees at `item`, to be changed. */
static void *
change(owngil_patch *self, const void *item, size_t size)
{
    size_t offset = (size_t)((const char *)item - self->image);
    for (size_t page = offset / self->page; page <= (offset + size - 1) / self->page; page++) {
        self->changed[page] = 1;
    }
    return self->image + offset;
}

/* Without a SONAME, no other library that needs the original gets the copy. Without functions that begin and end it, the
 * dynamic loader leaves that to elf_load.c. */
static void
hide_entries(owngil_patch *self)
{
    for (size_t k = 0; k < self->elf.dynamic_count && self->elf.dynamic[k].d_tag != DT_NULL; k++) {
        ElfW(Sxword) tag = self->elf.dynamic[k].d_tag;
        if (tag == DT_SONAME || tag == DT_INIT || tag == DT_INIT_ARRAY || tag == DT_FINI || tag == DT_FINI_ARRAY) {
            ElfW(Dyn) *entry = change(self, &self->elf.dynamic[k], sizeof(*entry));
            entry->d_tag = IGNORED_TAG;
        }
    }
}

/* The dynamic loader keeps one definition of each such symbol for the whole process, RTLD_LOCAL or not; and it never
 * unloads a library that has one. */
static void
demote_unique(owngil_patch *self)
{
    for (size_t k = 1; k < self->elf.symbol_count; k++) {
        const ElfW(Sym) *symbol = &self->elf.symbols[k];
        if (ELF64_ST_BIND(symbol->st_info) == STB_GNU_UNIQUE) {
            ElfW(Sym) *changed = change(self, symbol, sizeof(*symbol));
            changed->st_info = (unsigned char)ELF64_ST_INFO(STB_GLOBAL, ELF64_ST_TYPE(symbol->st_info));
        }
    }
}

static const char *
new_name(const char *name, const owngil_rename *renames, size_t count)
{
    for (size_t k = 0; k < count; k++) {
        if (strcmp(renames[k].from, name) == 0) {
            return renames[k].to;
        }
    }
    return NULL;
}

/* Appends a name to the tail; returns its place in the string table, which goes on up to there: nobody checks
 * DT_STRSZ when a library is loaded. */
static size_t
append_name(owngil_patch *self, ElfW(Addr) tail_address, size_t *used, const char *name)
{
    size_t place = (size_t)(tail_address - self->elf.strings_address) + *used;
    memcpy(self->tail + *used, name, strlen(name) + 1);
    *used += strlen(name) + 1;
    return place;
}

static bool
rename_needed(owngil_patch *self, const owngil_rename *renames, size_t count)
{
    size_t length = 0;
    const char *name;
    for (size_t k = 0; (name = owngil_image_string(&self->elf, DT_NEEDED, k)) != NULL; k++) {
        const char *other = new_name(name, renames, count);
        length += other != NULL ? 2 * (strlen(other) + 1) : 0; /* once more for its versions */
    }
    if (length == 0) {
        return true;
    }

    size_t headers = (self->elf.segment_count + 1) * sizeof(ElfW(Phdr));
    size_t unit = self->page;
    for (size_t k = 0; k < self->elf.segment_count; k++) {
        const ElfW(Phdr) *segment = &self->elf.segments[k];
        if (segment->p_type == PT_LOAD && segment->p_align > unit) {
            unit = segment->p_align;
        }
    }
    ElfW(Addr) address = round_up(self->elf.memory_end, unit);
    self->tail_offset = round_up(self->elf.load_end, unit);
    self->tail_size = headers + length;
    self->tail = calloc(1, self->tail_size);
    if (self->tail == NULL) {
        return false;
    }

    ElfW(Phdr) *table = (ElfW(Phdr) *)self->tail;
    memcpy(table, self->elf.segments, headers - sizeof(*table));
    for (size_t k = 0; k < self->elf.segment_count; k++) {
        if (table[k].p_type == PT_PHDR) { /* would say where the old table is */
            table[k].p_type = PT_NULL;
        }
    }
    table[self->elf.segment_count] = (ElfW(Phdr)){
        .p_type = PT_LOAD,
        .p_flags = PF_R,
        .p_offset = self->tail_offset,
        .p_vaddr = address,
        .p_paddr = address,
        .p_filesz = self->tail_size,
        .p_memsz = self->tail_size,
        .p_align = unit,
    };

    size_t used = headers;
    for (size_t k = 0; k < self->elf.dynamic_count && self->elf.dynamic[k].d_tag != DT_NULL; k++) {
        const ElfW(Dyn) *entry = &self->elf.dynamic[k];
        if (entry->d_tag != DT_NEEDED || entry->d_un.d_val >= self->elf.strings_size) {
            continue;
        }
        const char *other = new_name(self->elf.strings + entry->d_un.d_val, renames, count);
        if (other != NULL) {
            ElfW(Dyn) *changed = change(self, entry, sizeof(*entry));
            changed->d_un.d_val = append_name(self, address, &used, other);
        }
    }
    for (const ElfW(Verneed) *need = NULL; (need = owngil_image_version_need(&self->elf, need)) != NULL;) {
        if (need->vn_file >= self->elf.strings_size) {
            continue;
        }
        const char *other = new_name(self->elf.strings + need->vn_file, renames, count);
        if (other != NULL && used + strlen(other) + 1 <= self->tail_size) {
            ElfW(Verneed) *changed = change(self, need, sizeof(*need));
            changed->vn_file = (ElfW(Word))append_name(self, address, &used, other);
        }
    }

    ElfW(Ehdr) *header = change(self, self->image, sizeof(*header));
    header->e_phoff = self->tail_offset;
    header->e_phnum++;
    return true;
}

bool
owngil_patch_apply(owngil_patch *self, const owngil_rename *renames, size_t count)
{
    hide_entries(self);
    demote_unique(self);
    return rename_needed(self, renames, count);
}

static int
write_at(int fd, const char *from, size_t size, size_t offset)
{
    while (size > 0) {
        ssize_t written = pwrite(fd, from, size, (off_t)offset);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return written < 0 ? errno : ENOSPC;
        }
        from += written;
        offset += (size_t)written;
        size -= (size_t)written;
    }
    return 0;
}

int
owngil_patch_write(const owngil_patch *self, int fd)
{
    /* What lies behind the last segment (symbols for debuggers) is never loaded. */
    int error = write_at(fd, self->image, self->elf.load_end, 0);
    if (error == 0 && self->tail != NULL) {
        error = write_at(fd, self->tail, self->tail_size, self->tail_offset);
    }
    return error;
}

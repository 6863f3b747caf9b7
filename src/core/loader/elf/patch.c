#include "loader/elf/patch.h"

#include "loader/elf/checks.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A tag from the range for operating systems, without a meaning: the dynamic loader ignores it. */
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
    self->size = (size_t)status.st_size;
    void *original = mmap(NULL, self->size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (original == MAP_FAILED) {
        return strerror(errno);
    }
    self->original = original;
    void *copy = mmap(NULL, self->size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (copy == MAP_FAILED) {
        return strerror(errno);
    }
    self->copy = copy;
    self->changed = calloc(self->size / self->page + 1, 1);
    if (self->changed == NULL) {
        return strerror(ENOMEM);
    }
    const char *damage = owngil_image_read(&self->elf, original, self->size);
    return damage != NULL ? damage : owngil_checks_run(&self->elf);
}

void
owngil_patch_clear(owngil_patch *self)
{
    if (self->original != NULL) {
        munmap((void *)self->original, self->size);
    }
    if (self->copy != NULL) {
        munmap(self->copy, self->size);
    }
    free(self->changed);
    free(self->tail);
    *self = (owngil_patch){.original = NULL};
}

/* Returns the copy's part for `item`, which is a part of the original, and marks its pages as changed. */
static void *
make_writable(owngil_patch *self, const void *item, size_t size)
{
    size_t offset = (size_t)((const char *)item - self->original);
    for (size_t page = offset / self->page; page <= (offset + size - 1) / self->page; page++) {
        self->changed[page] = 1;
    }
    return self->copy + offset;
}

/* Hides the SONAME, lest another library that needs the original gets the copy; and the constructors and destructors,
 * which load.c runs instead of the dynamic loader. */
static void
hide_entries(owngil_patch *self)
{
    for (size_t k = 0; k < self->elf.dynamic_count; k++) {
        ElfW(Sxword) tag = self->elf.dynamic[k].d_tag;
        if (tag == DT_SONAME || tag == DT_INIT || tag == DT_INIT_ARRAY || tag == DT_FINI || tag == DT_FINI_ARRAY) {
            ElfW(Dyn) *entry = make_writable(self, &self->elf.dynamic[k], sizeof(*entry));
            entry->d_tag = IGNORED_TAG;
        }
    }
}

/* Makes unique symbols ordinary global ones. The dynamic loader keeps one definition of each unique symbol for the
 * whole process, RTLD_LOCAL or not; and it never unloads a library that has one. */
static void
demote_unique(owngil_patch *self)
{
    for (size_t k = 1; k < self->elf.symbol_count; k++) {
        const ElfW(Sym) *symbol = &self->elf.symbols[k];
        if (ELF64_ST_BIND(symbol->st_info) == STB_GNU_UNIQUE) {
            ElfW(Sym) *changed = make_writable(self, symbol, sizeof(*symbol));
            changed->st_info = (unsigned char)ELF64_ST_INFO(STB_GLOBAL, ELF64_ST_TYPE(symbol->st_info));
        }
    }
}

/* Returns which of the new names the needed library gets whose name is at `offset` in the string table; `count`: it keeps
 * its name. */
static size_t
find_rename(const owngil_patch *self, size_t offset, const owngil_rename *renames, size_t count)
{
    const char *name = owngil_image_string_at(&self->elf, offset);
    size_t k = name != NULL ? 0 : count;
    while (k < count && strcmp(renames[k].from, name) != 0) {
        k++;
    }
    return k;
}

/* Makes the tail with room for `length` bytes of names, and the table of program headers in it. Returns its address, or
 * 0 when there is no memory. */
static ElfW(Addr) add_tail(owngil_patch *self, size_t length)
{
    size_t count = self->elf.segment_count, unit = self->page;
    self->tail_size = (count + 1) * sizeof(ElfW(Phdr)) + length;
    self->tail = calloc(1, self->tail_size);
    if (self->tail == NULL) {
        return 0;
    }
    ElfW(Phdr) *table = (ElfW(Phdr) *)self->tail;
    memcpy(table, self->elf.segments, count * sizeof(*table));
    for (size_t k = 0; k < count; k++) {
        if (table[k].p_type == PT_PHDR) { /* its address would be that of the old table */
            table[k].p_type = PT_NULL;
        }
        else if (table[k].p_type == PT_LOAD && table[k].p_align > unit) {
            unit = table[k].p_align;
        }
    }
    ElfW(Addr) address = round_up(self->elf.memory_end, unit);
    self->tail_offset = round_up(self->elf.load_end, unit);
    table[count] = (ElfW(Phdr)){
        .p_type = PT_LOAD,
        .p_flags = PF_R,
        .p_offset = self->tail_offset,
        .p_vaddr = address,
        .p_paddr = address,
        .p_filesz = self->tail_size,
        .p_memsz = self->tail_size,
        .p_align = unit,
    };
    ElfW(Ehdr) *header = make_writable(self, self->original, sizeof(*header));
    header->e_phoff = self->tail_offset;
    header->e_phnum++;
    return address;
}

/* Renames needed libraries. Returns NULL, or a sentence as above. The new names' offsets in the string table are beyond
 * its end: the dynamic loader does not check DT_STRSZ. */
static const char *
rename_needed(owngil_patch *self, const owngil_rename *renames, size_t count)
{
    if (count == 0) {
        return NULL;
    }
    size_t length = 0;
    for (size_t n = 0; n < count; n++) {
        length += strlen(renames[n].to) + 1;
    }
    size_t *offsets = malloc(count * sizeof(*offsets));
    ElfW(Addr) address = offsets != NULL ? add_tail(self, length) : 0;
    if (address == 0) {
        free(offsets);
        return strerror(ENOMEM);
    }
    for (size_t n = 0, used = self->tail_size - length; n < count; n++) {
        offsets[n] = (size_t)(address - self->elf.strings_address) + used;
        used = (size_t)(stpcpy(self->tail + used, renames[n].to) + 1 - self->tail);
    }
    for (size_t k = 0, n; k < self->elf.dynamic_count; k++) {
        const ElfW(Dyn) *entry = &self->elf.dynamic[k];
        if (entry->d_tag == DT_NEEDED && (n = find_rename(self, entry->d_un.d_val, renames, count)) < count) {
            ElfW(Dyn) *changed = make_writable(self, entry, sizeof(*entry));
            changed->d_un.d_val = offsets[n];
        }
    }
    bool fits = true;
    ElfW(Addr) at = 0;
    (void)owngil_image_find(&self->elf, DT_VERNEED, &at);
    for (const ElfW(Verneed) * need; (need = owngil_image_version_need(&self->elf, &at)) != NULL;) {
        size_t n = find_rename(self, need->vn_file, renames, count);
        if (n < count) {
            ElfW(Verneed) *changed = make_writable(self, need, sizeof(*need));
            changed->vn_file = (ElfW(Word))offsets[n];
            fits &= offsets[n] <= UINT32_MAX;
        }
    }
    free(offsets);
    return fits ? NULL : "it is too large";
}

const char *
owngil_patch_apply(owngil_patch *self, const owngil_rename *renames, size_t count)
{
    hide_entries(self);
    demote_unique(self);
    return rename_needed(self, renames, count);
}

/* Returns 0 or an errno. */
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
    /* The file's end behind the last segment (symbols for debuggers) is never loaded. */
    int error = write_at(fd, self->copy, self->elf.load_end, 0);
    if (error == 0 && self->tail != NULL) {
        error = write_at(fd, self->tail, self->tail_size, self->tail_offset);
    }
    return error;
}

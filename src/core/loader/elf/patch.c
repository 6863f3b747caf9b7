#include "loader/elf/patch.h"

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
    void *image = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (image == MAP_FAILED) {
        return strerror(errno);
    }
    self->image = image;
    self->size = (size_t)status.st_size;
    self->changed = calloc(self->size / self->page + 1, 1);
    return self->changed != NULL ? owngil_image_read(&self->elf, image, self->size) : strerror(ENOMEM);
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

/* Returns `item`, which is a part of the image, as writable memory, and marks its pages as changed. */
static void *
make_writable(owngil_patch *self, const void *item, size_t size)
{
    size_t offset = (size_t)((const char *)item - self->image);
    for (size_t page = offset / self->page; page <= (offset + size - 1) / self->page; page++) {
        self->changed[page] = 1;
    }
    return self->image + offset;
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

/* Returns the new name of the needed library whose name is at `offset` in the string table; NULL: it keeps its name. */
static const char *
new_name(const owngil_patch *self, size_t offset, const owngil_rename *renames, size_t count)
{
    for (size_t k = 0; k < count && offset < self->elf.strings_size; k++) {
        if (strcmp(renames[k].from, self->elf.strings + offset) == 0) {
            return renames[k].to;
        }
    }
    return NULL;
}

/* As above, for an entry of the dynamic table, which may be of any kind. */
static const char *
new_needed(const owngil_patch *self, const ElfW(Dyn) * entry, const owngil_rename *renames, size_t count)
{
    return entry->d_tag == DT_NEEDED ? new_name(self, entry->d_un.d_val, renames, count) : NULL;
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
    ElfW(Ehdr) *header = make_writable(self, self->image, sizeof(*header));
    header->e_phoff = self->tail_offset;
    header->e_phnum++;
    return address;
}

/* Appends a name to the tail. Returns its offset in the string table, beyond the table's end: the dynamic loader does
 * not check DT_STRSZ. */
static size_t
append_name(owngil_patch *self, ElfW(Addr) tail_address, size_t *used, const char *name)
{
    size_t offset = (size_t)(tail_address - self->elf.strings_address) + *used;
    memcpy(self->tail + *used, name, strlen(name) + 1);
    *used += strlen(name) + 1;
    return offset;
}

/* Renames needed libraries. Returns false when there is no memory. */
static bool
rename_needed(owngil_patch *self, const owngil_rename *renames, size_t count)
{
    size_t length = 0;
    const char *name;
    for (size_t k = 0; k < self->elf.dynamic_count; k++) {
        name = new_needed(self, &self->elf.dynamic[k], renames, count);
        length += name != NULL ? 2 * (strlen(name) + 1) : 0; /* once more for its versions */
    }
    if (length == 0) {
        return true;
    }
    ElfW(Addr) address = add_tail(self, length);
    if (address == 0) {
        return false;
    }
    size_t used = self->tail_size - length;
    for (size_t k = 0; k < self->elf.dynamic_count; k++) {
        if ((name = new_needed(self, &self->elf.dynamic[k], renames, count)) != NULL) {
            ElfW(Dyn) *changed = make_writable(self, &self->elf.dynamic[k], sizeof(*changed));
            changed->d_un.d_val = append_name(self, address, &used, name);
        }
    }
    for (const ElfW(Verneed) *need = NULL; (need = owngil_image_version_need(&self->elf, need)) != NULL;) {
        name = new_name(self, need->vn_file, renames, count);
        if (name != NULL && used + strlen(name) + 1 <= self->tail_size) {
            ElfW(Verneed) *changed = make_writable(self, need, sizeof(*need));
            changed->vn_file = (ElfW(Word))append_name(self, address, &used, name);
        }
    }
    return true;
}

bool
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
    int error = write_at(fd, self->image, self->elf.load_end, 0);
    if (error == 0 && self->tail != NULL) {
        error = write_at(fd, self->tail, self->tail_size, self->tail_offset);
    }
    return error;
}

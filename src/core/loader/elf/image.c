#include "loader/elf/image.h"

#include <string.h>
#include <unistd.h>

#if __SIZEOF_POINTER__ == 8
#  define NATIVE_CLASS ELFCLASS64
#else
#  define NATIVE_CLASS ELFCLASS32
#endif

#if defined(__x86_64__)
#  define NATIVE_MACHINE EM_X86_64
#else
#  define NATIVE_MACHINE EM_AARCH64
#endif

/* Whether the image has `length` bytes at `offset`. */
static bool
is_inside(const owngil_image *self, size_t offset, size_t length)
{
    return offset <= self->size && length <= self->size - offset;
}

/* Returns `size` bytes of the image at `offset`, or NULL when they are not all there or not aligned. */
static const void *
at_offset(const owngil_image *self, size_t offset, size_t size, size_t alignment)
{
    return is_inside(self, offset, size) && offset % alignment == 0 ? self->image + offset : NULL;
}

const ElfW(Phdr) * owngil_image_segment_at(const owngil_image *self, ElfW(Addr) address)
{
    for (size_t k = 0; k < self->segment_count; k++) {
        const ElfW(Phdr) *segment = &self->segments[k];
        if (segment->p_type == PT_LOAD && address >= segment->p_vaddr
            && address - segment->p_vaddr < segment->p_memsz) {
            return segment;
        }
    }
    return NULL;
}

const void *
owngil_image_at(const owngil_image *self, ElfW(Addr) address, size_t size, size_t alignment)
{
    const ElfW(Phdr) *segment = owngil_image_segment_at(self, address);
    size_t offset = segment != NULL ? (size_t)(address - segment->p_vaddr) : 0;
    return segment != NULL && offset < segment->p_filesz && size <= segment->p_filesz - offset
               ? at_offset(self, (size_t)segment->p_offset + offset, size, alignment)
               : NULL;
}

bool
owngil_image_find(const owngil_image *self, ElfW(Sxword) tag, ElfW(Xword) * value)
{
    for (size_t k = self->dynamic_count; k-- > 0;) {
        if (self->dynamic[k].d_tag == tag) {
            *value = self->dynamic[k].d_un.d_val;
            return true;
        }
    }
    return false;
}

/* The functions read_...() return NULL, or a sentence on why the library cannot be loaded. */

/* Needs the segments. The dynamic loader reads the entries from memory, up to the first DT_NULL. */
static const char *
read_dynamic(owngil_image *self, const ElfW(Phdr) * segment)
{
    size_t most = segment->p_filesz / sizeof(ElfW(Dyn)), count = 0;
    const ElfW(Dyn) *entries = owngil_image_at(self, segment->p_vaddr, most * sizeof(ElfW(Dyn)), _Alignof(ElfW(Dyn)));
    while (entries != NULL && count < most && entries[count].d_tag != DT_NULL) {
        count++;
    }
    if (entries == NULL || count == most || (const char *)entries != self->image + segment->p_offset) {
        return "its dynamic section is damaged";
    }
    self->dynamic = entries;
    self->dynamic_count = count;
    self->dynamic_address = segment->p_vaddr;
    return NULL;
}

static const char *
read_segments(owngil_image *self)
{
    const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)self->image;
    size_t size = (size_t)header->e_phnum * sizeof(ElfW(Phdr));
    self->segments = at_offset(self, header->e_phoff, size, _Alignof(ElfW(Phdr)));
    if (header->e_phentsize != sizeof(ElfW(Phdr)) || self->segments == NULL) {
        return "its program headers are damaged";
    }
    self->segment_count = header->e_phnum;

    const ElfW(Phdr) *dynamic = NULL;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t k = 0; k < self->segment_count; k++) {
        const ElfW(Phdr) *segment = &self->segments[k];
        if (segment->p_type == PT_GNU_RELRO) {
            self->relro = segment->p_vaddr;
            self->relro_end = segment->p_vaddr + segment->p_memsz;
        }
        if (segment->p_type != PT_LOAD && segment->p_type != PT_DYNAMIC) {
            continue;
        }
        if (!is_inside(self, segment->p_offset, segment->p_filesz)) {
            return "it is cut off: a segment lies beyond its end";
        }
        if (segment->p_filesz > segment->p_memsz || segment->p_vaddr > SIZE_MAX / 4 || segment->p_memsz > SIZE_MAX / 4
            || segment->p_align > SIZE_MAX / 4 || (segment->p_align & (segment->p_align - 1)) != 0) {
            return "its program headers are damaged";
        }
        if (segment->p_type == PT_LOAD) {
            /* The dynamic loader would map one segment over another, or over other memory. */
            if (self->memory_end != 0 && segment->p_vaddr / page <= (self->memory_end - 1) / page) {
                return "its segments overlap or are not in order";
            }
            size_t end = (size_t)(segment->p_offset + segment->p_filesz);
            self->load_end = end > self->load_end ? end : self->load_end;
            self->memory_end = segment->p_vaddr + segment->p_memsz;
        }
        else {
            dynamic = segment;
        }
    }
    return dynamic != NULL ? read_dynamic(self, dynamic) : NULL;
}

static const char *
read_strings(owngil_image *self)
{
    ElfW(Xword) address, size;
    if (!owngil_image_find(self, DT_STRTAB, &address) || !owngil_image_find(self, DT_STRSZ, &size) || size == 0) {
        return NULL;
    }
    self->strings = owngil_image_at(self, address, size, 1);
    if (self->strings == NULL || self->strings[size - 1] != '\0') {
        return "its string table is damaged";
    }
    self->strings_size = size;
    self->strings_address = address;
    return NULL;
}

/* Returns the number of symbols that the DT_HASH table names, SIZE_MAX if it is damaged. */
static size_t
count_hashed_symbols(const owngil_image *self)
{
    ElfW(Xword) address;
    if (!owngil_image_find(self, DT_HASH, &address)) {
        return 0;
    }
    const uint32_t *table = owngil_image_at(self, address, 2 * sizeof(uint32_t), sizeof(uint32_t));
    return table != NULL ? table[1] : SIZE_MAX;
}

/* As above, for the DT_GNU_HASH table: the last symbol ends the chain of the last bucket. */
static size_t
count_gnu_hashed_symbols(const owngil_image *self)
{
    ElfW(Xword) address;
    if (!owngil_image_find(self, DT_GNU_HASH, &address)) {
        return 0;
    }
    const uint32_t *table = owngil_image_at(self, address, 4 * sizeof(uint32_t), sizeof(uint32_t));
    if (table == NULL) {
        return SIZE_MAX;
    }
    size_t buckets = table[0], first = table[1], bloom = table[2];
    size_t start = 4 * sizeof(uint32_t) + bloom * sizeof(ElfW(Addr));
    const uint32_t *bucket = owngil_image_at(self, address + start, buckets * sizeof(uint32_t), sizeof(uint32_t));
    if (bucket == NULL) {
        return buckets == 0 ? first : SIZE_MAX;
    }
    size_t last = 0;
    for (size_t k = 0; k < buckets; k++) {
        last = bucket[k] > last ? bucket[k] : last;
    }
    if (last < first) {
        return first;
    }
    for (;; last++) {
        const uint32_t *chain = owngil_image_at(self, address + start + (buckets + last - first) * sizeof(uint32_t),
                                                sizeof(uint32_t), sizeof(uint32_t));
        if (chain == NULL) {
            return SIZE_MAX;
        }
        if (*chain & 1) {
            return last + 1;
        }
    }
}

/* Returns the number of symbols. The DT_GNU_HASH table of a library without exports tells nothing about its imports:
 * only the relocations do. */
static size_t
count_symbols(const owngil_image *self)
{
    size_t count = count_hashed_symbols(self), other = count_gnu_hashed_symbols(self);
    count = other > count ? other : count;
    for (size_t n = 0; n < 2; n++) {
        for (size_t k = 0; k < self->relocation_count[n]; k++) {
            size_t number = ELF64_R_SYM(self->relocations[n][k].r_info);
            count = number >= count && number != 0 ? number + 1 : count;
        }
    }
    return count;
}

/* Needs the relocations. */
static const char *
read_symbols(owngil_image *self)
{
    ElfW(Xword) address;
    size_t count = count_symbols(self);
    if (count == 0) {
        return NULL;
    }
    if (self->strings != NULL && owngil_image_find(self, DT_SYMTAB, &address) && count < SIZE_MAX / sizeof(ElfW(Sym))) {
        self->symbols = owngil_image_at(self, address, count * sizeof(ElfW(Sym)), _Alignof(ElfW(Sym)));
    }
    if (self->symbols == NULL) {
        return "its symbol table is damaged";
    }
    self->symbol_count = count;
    return NULL;
}

static const char *
read_relocations(owngil_image *self)
{
    static const ElfW(Sxword) tags[2][2] = {{DT_RELA, DT_RELASZ}, {DT_JMPREL, DT_PLTRELSZ}};
    for (size_t k = 0; k < 2; k++) {
        ElfW(Xword) address, size = 1, kind = 0;
        /* Some linkers leave tables of no size anywhere. */
        if (!owngil_image_find(self, tags[k][0], &address)
            || (owngil_image_find(self, tags[k][1], &size) && size == 0)) {
            continue;
        }
        self->relocations[k] = owngil_image_at(self, address, size, _Alignof(ElfW(Rela)));
        if (self->relocations[k] == NULL || size % sizeof(ElfW(Rela)) != 0
            || (k == 1 && (!owngil_image_find(self, DT_PLTREL, &kind) || kind != DT_RELA))) {
            return "its relocations are damaged";
        }
        self->relocation_count[k] = size / sizeof(ElfW(Rela));
    }
    return NULL;
}

/* Finds the table of functions that the entry `tag` points at, and how many there are. Returns whether it is all in
 * memory; a library without a table has 0 functions. */
static bool
find_functions(const owngil_image *self, ElfW(Sxword) tag, ElfW(Sxword) size_tag, ElfW(Addr) * address, size_t *count)
{
    ElfW(Xword) size = 0;
    bool has_table = owngil_image_find(self, tag, address), has_size = owngil_image_find(self, size_tag, &size);
    if (!has_table || (has_size && size == 0)) {
        return true;
    }
    *count = size / sizeof(ElfW(Addr));
    return has_size && size % sizeof(ElfW(Addr)) == 0 && *address < self->memory_end
           && size <= self->memory_end - *address;
}

const char *
owngil_image_read(owngil_image *self, const void *image, size_t size)
{
    const ElfW(Ehdr) *header = image;
    *self = (owngil_image){.image = image, .size = size};
    if (size < sizeof(*header) || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) {
        return "it is not an ELF file";
    }
    if (header->e_ident[EI_CLASS] != NATIVE_CLASS || header->e_machine != NATIVE_MACHINE || header->e_type != ET_DYN) {
        return "it is not a shared library for this kind of machine";
    }
    static const char *(*const readers[])(owngil_image *) = {read_segments, read_strings, read_relocations,
                                                             read_symbols};
    for (size_t k = 0; k < sizeof(readers) / sizeof(readers[0]); k++) {
        const char *damage = readers[k](self);
        if (damage != NULL) {
            return damage;
        }
    }
    (void)owngil_image_find(self, DT_INIT, &self->init);
    (void)owngil_image_find(self, DT_FINI, &self->fini);
    if (!find_functions(self, DT_INIT_ARRAY, DT_INIT_ARRAYSZ, &self->init_array, &self->init_count)
        || !find_functions(self, DT_FINI_ARRAY, DT_FINI_ARRAYSZ, &self->fini_array, &self->fini_count)) {
        return "its table of constructors or destructors is damaged";
    }
    ElfW(Xword) flags;
    self->text_relocations = owngil_image_find(self, DT_TEXTREL, &flags)
                             || (owngil_image_find(self, DT_FLAGS, &flags) && (flags & DF_TEXTREL) != 0);
    self->no_delete = owngil_image_find(self, DT_FLAGS_1, &flags) && (flags & DF_1_NODELETE) != 0;
    return NULL;
}

const char *
owngil_image_string_at(const owngil_image *self, size_t offset)
{
    return self->strings != NULL && offset < self->strings_size ? self->strings + offset : NULL;
}

const char *
owngil_image_string(const owngil_image *self, ElfW(Sxword) tag)
{
    ElfW(Xword) offset;
    return owngil_image_find(self, tag, &offset) ? owngil_image_string_at(self, offset) : NULL;
}

const char *
owngil_image_needed(const owngil_image *self, size_t *k)
{
    while (*k < self->dynamic_count) {
        const ElfW(Dyn) *entry = &self->dynamic[(*k)++];
        const char *name = entry->d_tag == DT_NEEDED ? owngil_image_string_at(self, entry->d_un.d_val) : NULL;
        if (name != NULL) {
            return name;
        }
    }
    return NULL;
}

const char *
owngil_image_symbol_name(const owngil_image *self, size_t number)
{
    const ElfW(Sym) *symbol = &self->symbols[number];
    return symbol->st_name < self->strings_size ? self->strings + symbol->st_name : "";
}

const char *
owngil_image_next_import(const owngil_image *self, size_t *k)
{
    while (++*k < self->symbol_count) {
        if (self->symbols[*k].st_shndx == SHN_UNDEF) {
            return owngil_image_symbol_name(self, *k);
        }
    }
    return NULL;
}

const ElfW(Verneed) * owngil_image_version_need(const owngil_image *self, ElfW(Addr) * address)
{
    const ElfW(Verneed) *need =
        *address != 0 ? owngil_image_at(self, *address, sizeof(*need), _Alignof(ElfW(Verneed))) : NULL;
    if (need != NULL) {
        *address = need->vn_next != 0 ? *address + need->vn_next : 0;
    }
    return need;
}

bool
owngil_image_uses_python(const owngil_image *self)
{
    const char *name;
    for (size_t k = 0; (name = owngil_image_next_import(self, &k)) != NULL;) {
        name += name[0] == '_';
        if (name[0] == 'P' && name[1] == 'y' && (name[2] == '_' || (name[2] >= 'A' && name[2] <= 'Z'))) {
            return true;
        }
    }
    return false;
}

size_t
owngil_image_state_size(const owngil_image *self)
{
    size_t size = 0;
    for (size_t k = 0; k < self->segment_count; k++) {
        const ElfW(Phdr) *segment = &self->segments[k];
        if ((segment->p_type == PT_LOAD && (segment->p_flags & PF_W) != 0) || segment->p_type == PT_TLS) {
            size += segment->p_memsz;
        }
    }
    size_t constant = (size_t)(self->relro_end - self->relro);
    return size > constant ? size - constant : 0;
}

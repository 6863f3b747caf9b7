#include "loader/elf/image.h"

#include <string.h>

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

/* As at_offset(), for bytes that will be loaded at `address`. */
static const void *
at_address(const owngil_image *self, ElfW(Addr) address, size_t size, size_t alignment)
{
    const ElfW(Phdr) *segment = owngil_image_segment_at(self, address);
    return segment != NULL && address - segment->p_vaddr < segment->p_filesz
               ? at_offset(self, (size_t)(segment->p_offset + (address - segment->p_vaddr)), size, alignment)
               : NULL;
}

/* Finds the value of the dynamic entry `tag`. Returns whether there is one; if not, `*value` stays the same. */
static bool
find_dynamic(const owngil_image *self, ElfW(Sxword) tag, ElfW(Xword) * value)
{
    for (size_t k = 0; k < self->dynamic_count; k++) {
        if (self->dynamic[k].d_tag == tag) {
            *value = self->dynamic[k].d_un.d_val;
            return true;
        }
    }
    return false;
}

/* The functions read_...() return NULL, or a sentence on why the library cannot be loaded. */

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
        if (segment->p_filesz > segment->p_memsz || segment->p_vaddr > SIZE_MAX / 2
            || segment->p_memsz > SIZE_MAX / 2) {
            return "its program headers are damaged";
        }
        if (segment->p_type == PT_LOAD) {
            size_t end = (size_t)(segment->p_offset + segment->p_filesz);
            self->load_end = end > self->load_end ? end : self->load_end;
            ElfW(Addr) memory_end = segment->p_vaddr + segment->p_memsz;
            self->memory_end = memory_end > self->memory_end ? memory_end : self->memory_end;
        }
        else if (segment->p_offset % _Alignof(ElfW(Dyn)) == 0) {
            self->dynamic = (const ElfW(Dyn) *)(self->image + segment->p_offset);
            size_t most = segment->p_filesz / sizeof(ElfW(Dyn)), count = 0;
            while (count < most && self->dynamic[count].d_tag != DT_NULL) {
                count++;
            }
            self->dynamic_count = count;
            self->dynamic_address = segment->p_vaddr;
        }
    }
    /* The dynamic loader reads the entries from memory. */
    if (self->dynamic != NULL && at_address(self, self->dynamic_address, 1, 1) != (const void *)self->dynamic) {
        return "its dynamic section is damaged";
    }
    return NULL;
}

static const char *
read_strings(owngil_image *self)
{
    ElfW(Xword) address, size;
    if (!find_dynamic(self, DT_STRTAB, &address) || !find_dynamic(self, DT_STRSZ, &size) || size == 0) {
        return NULL;
    }
    self->strings = at_address(self, address, size, 1);
    if (self->strings == NULL || self->strings[size - 1] != '\0') {
        return "its string table is damaged";
    }
    self->strings_size = size;
    self->strings_address = address;
    return NULL;
}

/* Returns the number of symbols in the hash table, SIZE_MAX if it is damaged: the DT_HASH table has the number, in the
 * DT_GNU_HASH table the last symbol ends the chain of the last bucket. */
static size_t
count_hashed_symbols(const owngil_image *self)
{
    ElfW(Xword) address;
    if (find_dynamic(self, DT_HASH, &address)) {
        const uint32_t *table = at_address(self, address, 2 * sizeof(uint32_t), sizeof(uint32_t));
        return table != NULL ? table[1] : SIZE_MAX;
    }
    if (!find_dynamic(self, DT_GNU_HASH, &address)) {
        return 0;
    }
    const uint32_t *table = at_address(self, address, 4 * sizeof(uint32_t), sizeof(uint32_t));
    if (table == NULL) {
        return SIZE_MAX;
    }
    size_t buckets = table[0], first = table[1], bloom = table[2];
    size_t start = 4 * sizeof(uint32_t) + bloom * sizeof(ElfW(Addr));
    const uint32_t *bucket = at_address(self, address + start, buckets * sizeof(uint32_t), sizeof(uint32_t));
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
        const uint32_t *chain = at_address(self, address + start + (buckets + last - first) * sizeof(uint32_t),
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
    size_t count = count_hashed_symbols(self);
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
    if (self->strings != NULL && find_dynamic(self, DT_SYMTAB, &address) && count < SIZE_MAX / sizeof(ElfW(Sym))) {
        self->symbols = at_address(self, address, count * sizeof(ElfW(Sym)), _Alignof(ElfW(Sym)));
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
    ElfW(Xword) kind = DT_RELA;
    (void)find_dynamic(self, DT_PLTREL, &kind);
    for (size_t k = 0; k < 2; k++) {
        ElfW(Xword) address, size;
        if (!find_dynamic(self, tags[k][0], &address) || !find_dynamic(self, tags[k][1], &size) || size == 0) {
            continue;
        }
        self->relocations[k] = at_address(self, address, size, _Alignof(ElfW(Rela)));
        if (self->relocations[k] == NULL || size % sizeof(ElfW(Rela)) != 0 || (k == 1 && kind != DT_RELA)) {
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
    bool has_table = find_dynamic(self, tag, address), has_size = find_dynamic(self, size_tag, &size);
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
    (void)find_dynamic(self, DT_INIT, &self->init);
    (void)find_dynamic(self, DT_FINI, &self->fini);
    if (!find_functions(self, DT_INIT_ARRAY, DT_INIT_ARRAYSZ, &self->init_array, &self->init_count)
        || !find_functions(self, DT_FINI_ARRAY, DT_FINI_ARRAYSZ, &self->fini_array, &self->fini_count)) {
        return "its table of constructors or destructors is damaged";
    }
    ElfW(Xword) flags;
    self->text_relocations =
        find_dynamic(self, DT_TEXTREL, &flags) || (find_dynamic(self, DT_FLAGS, &flags) && (flags & DF_TEXTREL) != 0);
    self->no_delete = find_dynamic(self, DT_FLAGS_1, &flags) && (flags & DF_1_NODELETE) != 0;
    return NULL;
}

const char *
owngil_image_string(const owngil_image *self, ElfW(Sxword) tag, size_t k)
{
    for (size_t n = 0; self->strings != NULL && n < self->dynamic_count; n++) {
        const ElfW(Dyn) *entry = &self->dynamic[n];
        if (entry->d_tag == tag && entry->d_un.d_val < self->strings_size && k-- == 0) {
            return self->strings + entry->d_un.d_val;
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

const ElfW(Verneed) * owngil_image_version_need(const owngil_image *self, const ElfW(Verneed) * need)
{
    ElfW(Xword) address;
    if (need == NULL) {
        return find_dynamic(self, DT_VERNEED, &address)
                   ? at_address(self, address, sizeof(*need), _Alignof(ElfW(Verneed)))
                   : NULL;
    }
    size_t offset = (size_t)((const char *)need - self->image) + need->vn_next;
    return need->vn_next != 0 ? at_offset(self, offset, sizeof(*need), _Alignof(ElfW(Verneed))) : NULL;
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

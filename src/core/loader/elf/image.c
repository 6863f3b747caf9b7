#include "loader/elf/image.h"

#include <string.h>

#if __SIZEOF_POINTER__ == 8
#  define NATIVE_CLASS ELFCLASS64
#else
#  define NATIVE_CLASS ELFCLASS32
#endif

static bool
inside(const owngil_image *self, size_t offset, size_t length)
{
    return offset <= self->size && length <= self->size - offset;
}

/* The offset in the file of what will be loaded at `address`, or SIZE_MAX. */
static size_t
offset_of(const owngil_image *self, ElfW(Addr) address)
{
    for (size_t k = 0; k < self->segment_count; k++) {
        const ElfW(Phdr) *segment = &self->segments[k];
        if (segment->p_type == PT_LOAD && address >= segment->p_vaddr
            && address - segment->p_vaddr < segment->p_filesz) {
            return (size_t)(segment->p_offset + (address - segment->p_vaddr));
        }
    }
    return SIZE_MAX;
}

/* What will be loaded at `address`: `size` bytes of the image, or NULL when they are not all there or not aligned. */
static const void *
at_address(const owngil_image *self, ElfW(Addr) address, size_t size, size_t alignment)
{
    size_t offset = offset_of(self, address);
    if (offset == SIZE_MAX || !inside(self, offset, size) || offset % alignment != 0) {
        return NULL;
    }
    return self->image + offset;
}

/* The value of the dynamic entry `tag`. Returns whether there is one. */
static bool
dynamic_value(const owngil_image *self, ElfW(Sxword) tag, ElfW(Xword) * value)
{
    for (size_t k = 0; k < self->dynamic_count && self->dynamic[k].d_tag != DT_NULL; k++) {
        if (self->dynamic[k].d_tag == tag) {
            *value = self->dynamic[k].d_un.d_val;
            return true;
        }
    }
    return false;
}

static const char *
read_segments(owngil_image *self, const ElfW(Ehdr) * header)
{
    if (header->e_phentsize != sizeof(ElfW(Phdr)) || header->e_phoff % _Alignof(ElfW(Phdr)) != 0
        || !inside(self, header->e_phoff, (size_t)header->e_phnum * sizeof(ElfW(Phdr)))) {
        return "its program headers are damaged";
    }
    self->segments = (const ElfW(Phdr) *)(self->image + header->e_phoff);
    self->segment_count = header->e_phnum;

    for (size_t k = 0; k < self->segment_count; k++) {
        const ElfW(Phdr) *segment = &self->segments[k];
        if (segment->p_type == PT_LOAD || segment->p_type == PT_DYNAMIC) {
            if (!inside(self, segment->p_offset, segment->p_filesz)) {
                return "it is cut off: a segment lies beyond its end";
            }
            if (segment->p_filesz > segment->p_memsz || segment->p_vaddr > SIZE_MAX / 2
                || segment->p_memsz > SIZE_MAX / 2) {
                return "its program headers are damaged";
            }
        }
        switch (segment->p_type) {
        case PT_LOAD: {
            size_t end = (size_t)(segment->p_offset + segment->p_filesz);
            self->load_end = end > self->load_end ? end : self->load_end;
            ElfW(Addr) memory_end = segment->p_vaddr + segment->p_memsz;
            self->memory_end = memory_end > self->memory_end ? memory_end : self->memory_end;
            break;
        default:
            break;
        }
        case PT_DYNAMIC:
            if (segment->p_offset % _Alignof(ElfW(Dyn)) == 0) {
                self->dynamic = (const ElfW(Dyn) *)(self->image + segment->p_offset);
                self->dynamic_count = segment->p_filesz / sizeof(ElfW(Dyn));
            }
            break;
        case PT_GNU_RELRO:
            self->relro = segment->p_vaddr;
            self->relro_end = segment->p_vaddr + segment->p_memsz;
            break;
        }
    }
    return NULL;
}

static const char *
read_strings(owngil_image *self)
{
    ElfW(Xword) address, size;
    if (!dynamic_value(self, DT_STRTAB, &address) || !dynamic_value(self, DT_STRSZ, &size) || size == 0) {
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

/* How many symbols there are says only the hash table: the end of the chain of the last bucket. SIZE_MAX: damaged. */
static size_t
count_symbols(const owngil_image *self)
{
    ElfW(Xword) address;
    if (dynamic_value(self, DT_HASH, &address)) {
        const uint32_t *table = at_address(self, address, 2 * sizeof(uint32_t), sizeof(uint32_t));
        return table != NULL ? table[1] : SIZE_MAX;
    }
    if (!dynamic_value(self, DT_GNU_HASH, &address)) {
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

static const char *
read_symbols(owngil_image *self)
{
    ElfW(Xword) address;
    if (self->strings == NULL || !dynamic_value(self, DT_SYMTAB, &address)) {
        return NULL;
    }
    size_t count = count_symbols(self);
    if (count == 0) {
        return NULL;
    }
    if (count < SIZE_MAX / sizeof(ElfW(Sym))) {
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
    (void)dynamic_value(self, DT_PLTREL, &kind);
    for (size_t k = 0; k < 2; k++) {
        ElfW(Xword) address, size;
        if (!dynamic_value(self, tags[k][0], &address) || !dynamic_value(self, tags[k][1], &size) || size == 0
            || (k == 1 && kind != DT_RELA)) {
            continue;
        }
        self->relocations[k] = at_address(self, address, size, _Alignof(ElfW(Rela)));
        if (self->relocations[k] == NULL) {
            return "its relocations are damaged";
        }
        self->relocation_count[k] = size / sizeof(ElfW(Rela));
    }
    return NULL;
}

/* How many functions the table has that the entry `tag` points at. */
static size_t
count_functions(const owngil_image *self, ElfW(Sxword) tag, ElfW(Sxword) size_tag, ElfW(Addr) * address)
{
    ElfW(Xword) size;
    if (!dynamic_value(self, tag, address) || !dynamic_value(self, size_tag, &size) || *address >= self->memory_end
        || size > self->memory_end - *address) {
        return 0;
    }
    return size / sizeof(ElfW(Addr));
}

const char *
owngil_image_read(owngil_image *self, const void *image, size_t size)
{
    const ElfW(Ehdr) *header = image;
    *self = (owngil_image){.image = image, .size = size};
    if (size < sizeof(*header) || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) {
        return "it is not an ELF file";
    }
    if (header->e_ident[EI_CLASS] != NATIVE_CLASS || header->e_type != ET_DYN) {
        return "it is not a shared library for this kind of machine";
    }
    const char *damage = read_segments(self, header);
    if (damage == NULL) {
        damage = read_strings(self);
    }
    if (damage == NULL) {
        damage = read_symbols(self);
    }
    if (damage == NULL) {
        damage = read_relocations(self);
    }
    (void)dynamic_value(self, DT_INIT, &self->init);
    (void)dynamic_value(self, DT_FINI, &self->fini);
    self->init_count = count_functions(self, DT_INIT_ARRAY, DT_INIT_ARRAYSZ, &self->init_array);
    self->fini_count = count_functions(self, DT_FINI_ARRAY, DT_FINI_ARRAYSZ, &self->fini_array);
    ElfW(Xword) flags;
    self->text_relocations = dynamic_value(self, DT_TEXTREL, &flags);
    self->text_relocations |= dynamic_value(self, DT_FLAGS, &flags) && (flags & DF_TEXTREL) != 0;
    self->stays = dynamic_value(self, DT_FLAGS_1, &flags) && (flags & DF_1_NODELETE) != 0;
    return damage;
}

const char *
owngil_image_string(const owngil_image *self, ElfW(Sxword) tag, size_t k)
{
    if (self->strings == NULL) {
        return NULL;
    }
    for (size_t n = 0; n < self->dynamic_count && self->dynamic[n].d_tag != DT_NULL; n++) {
        const ElfW(Dyn) *entry = &self->dynamic[n];
        if (entry->d_tag == tag && entry->d_un.d_val < self->strings_size && k-- == 0) {
            return self->strings + entry->d_un.d_val;
        }
    }
    return NULL;
}

const char *
owngil_image_name(const owngil_image *self, const ElfW(Sym) * symbol)
{
    return symbol->st_name < self->strings_size ? self->strings + symbol->st_name : "";
}

const ElfW(Verneed) * owngil_image_version_need(const owngil_image *self, const ElfW(Verneed) * need)
{
    if (need == NULL) {
        ElfW(Xword) address;
        return dynamic_value(self, DT_VERNEED, &address)
                   ? at_address(self, address, sizeof(*need), _Alignof(ElfW(Verneed)))
                   : NULL;
    }
    size_t offset = (size_t)((const char *)need - self->image) + need->vn_next;
    if (need->vn_next == 0 || offset % _Alignof(ElfW(Verneed)) != 0 || !inside(self, offset, sizeof(*need))) {
        return NULL;
    }
    return (const ElfW(Verneed) *)(self->image + offset);
}

bool
owngil_image_uses(const owngil_image *self, const char *prefix)
{
    size_t length = strlen(prefix);
    for (size_t k = 1; k < self->symbol_count; k++) {
        if (self->symbols[k].st_shndx == SHN_UNDEF
            && strncmp(owngil_image_name(self, &self->symbols[k]), prefix, length) == 0) {
            return true;
        }
    }
    return false;
}

bool
owngil_image_uses_python(const owngil_image *self)
{
    for (size_t k = 1; k < self->symbol_count; k++) {
        if (self->symbols[k].st_shndx == SHN_UNDEF) {
            const char *name = owngil_image_name(self, &self->symbols[k]);
            name += name[0] == '_';
            if (name[0] == 'P' && name[1] == 'y' && (name[2] == '_' || (name[2] >= 'A' && name[2] <= 'Z'))) {
                return true;
            }
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

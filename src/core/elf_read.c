#include "elf_read.h"

#include <string.h>

#if __SIZEOF_POINTER__ == 8
#  define NATIVE_CLASS ELFCLASS64
#else
#  define NATIVE_CLASS ELFCLASS32
#endif

static bool
inside(const owngil_elf *self, size_t offset, size_t length)
{
    return offset <= self->size && length <= self->size - offset;
}

/* The offset in the file of what will be loaded at `address`, or SIZE_MAX. */
static size_t
offset_of(const owngil_elf *self, ElfW(Addr) address)
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

const char *
owngil_elf_read(owngil_elf *self, const void *image, size_t size)
{
    const ElfW(Ehdr) *header = image;
    *self = (owngil_elf){.image = image, .size = size};
    if (size < sizeof(*header) || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) {
        return "it is not an ELF file";
    }
    if (header->e_ident[EI_CLASS] != NATIVE_CLASS || header->e_type != ET_DYN) {
        return "it is not a shared library for this kind of machine";
    }
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
            size_t end = (size_t)(segment->p_offset + segment->p_filesz);
            if (segment->p_type == PT_LOAD && end > self->load_end) {
                self->load_end = end;
            }
        }
        if (segment->p_type == PT_DYNAMIC && segment->p_offset % _Alignof(ElfW(Dyn)) == 0) {
            self->dynamic = (const ElfW(Dyn) *)(self->image + segment->p_offset);
            self->dynamic_count = segment->p_filesz / sizeof(ElfW(Dyn));
        }
    }

    size_t strings = SIZE_MAX;
    for (size_t k = 0; k < self->dynamic_count && self->dynamic[k].d_tag != DT_NULL; k++) {
        const ElfW(Dyn) *entry = &self->dynamic[k];
        switch (entry->d_tag) {
        case DT_STRTAB:
            strings = offset_of(self, entry->d_un.d_ptr);
            break;
        case DT_STRSZ:
            self->strings_size = (size_t)entry->d_un.d_val;
            break;
        case DT_TEXTREL:
            self->text_relocations = true;
            break;
        case DT_FLAGS:
            self->text_relocations |= (entry->d_un.d_val & DF_TEXTREL) != 0;
            break;
        }
    }
    if (strings != SIZE_MAX && self->strings_size > 0) {
        if (!inside(self, strings, self->strings_size) || self->image[strings + self->strings_size - 1] != '\0') {
            return "its string table is damaged";
        }
        self->strings = self->image + strings;
    }
    return NULL;
}

const char *
owngil_elf_string(const owngil_elf *self, ElfW(Sxword) tag, size_t k)
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

#include "loader/elf/checks.h"

#if defined(__x86_64__)
enum { RELATIVE = R_X86_64_RELATIVE };
#else
enum { RELATIVE = R_AARCH64_RELATIVE };
#endif

#ifndef PT_GNU_PROPERTY /* the C library's headers are older than 2.29 */
#  define PT_GNU_PROPERTY 0x6474e553
#endif
#ifndef DT_RELR /* the C library's headers are older than 2.36 */
#  define DT_RELRSZ 35
#  define DT_RELR 36
#  define DT_RELRENT 37
#endif

enum { VERSION_NUMBER = 0x7fff }; /* the other bit of an entry in DT_VERSYM says that the symbol is hidden */

/* The functions check_...() return NULL, or a sentence on why the library cannot be loaded. */

/* The contents of segments other than PT_LOAD are in memory because they are a part of one. */
static const char *
check_segments(const owngil_image *image)
{
    for (size_t k = 0; k < image->segment_count; k++) {
        const ElfW(Phdr) *segment = &image->segments[k];
        ElfW(Word) type = segment->p_type;
        bool sound = true;
        if (type == PT_TLS) {
            sound =
                segment->p_filesz <= segment->p_memsz && segment->p_memsz <= SIZE_MAX / 4
                && segment->p_align <= SIZE_MAX / 4 && (segment->p_align & (segment->p_align - 1)) == 0
                && (segment->p_filesz == 0 || owngil_image_at(image, segment->p_vaddr, segment->p_filesz, 1) != NULL);
        }
        else if (type == PT_NOTE || type == PT_GNU_PROPERTY || type == PT_PHDR || type == PT_GNU_EH_FRAME) {
            sound = segment->p_memsz == 0 || owngil_image_at(image, segment->p_vaddr, segment->p_memsz, 1) != NULL;
        }
        else if (type == PT_GNU_RELRO) {
            sound = segment->p_memsz == 0 || owngil_image_segment_at(image, segment->p_vaddr) != NULL;
        }
        if (type == PT_PHDR) {
            sound &= owngil_image_at(image, segment->p_vaddr, 1, 1) == (const void *)image->segments;
        }
        if (!sound) {
            return "its program headers are damaged";
        }
    }
    return NULL;
}

/* The dynamic loader needs a table of strings and one of symbols. It takes names from behind the
 * end of the string table, if it is told so. */
static const char *
check_names(const owngil_image *image)
{
    ElfW(Xword) symbols;
    if (image->dynamic == NULL) {
        return NULL;
    }
    if (image->strings == NULL || !owngil_image_find(image, DT_SYMTAB, &symbols)) {
        return "its dynamic section is damaged";
    }
    for (size_t k = 0; k < image->dynamic_count; k++) {
        const ElfW(Dyn) *entry = &image->dynamic[k];
        ElfW(Sxword) tag = entry->d_tag;
        if ((tag == DT_NEEDED || tag == DT_SONAME || tag == DT_RPATH || tag == DT_RUNPATH || tag == DT_AUXILIARY
             || tag == DT_FILTER)
            && owngil_image_string_at(image, entry->d_un.d_val) == NULL) {
            return "its string table is damaged";
        }
    }
    for (size_t k = 0; k < image->symbol_count; k++) {
        if (image->symbols[k].st_name >= image->strings_size) {
            return "its symbol table is damaged";
        }
    }
    return NULL;
}

/* Returns the array of `count` numbers at `address`, or NULL if it is not all in the library. */
static const uint32_t *
numbers_at(const owngil_image *image, ElfW(Addr) address, size_t count)
{
    return owngil_image_at(image, address, count * sizeof(uint32_t), sizeof(uint32_t));
}

/* image.c has followed the chain of the last bucket to its end, in which the others end at the latest. */
static bool
is_gnu_hash_sound(const owngil_image *image, ElfW(Addr) address)
{
    const uint32_t *table = numbers_at(image, address, 4);
    size_t buckets = table != NULL ? table[0] : 0;
    if (buckets == 0) {
        return false; /* the dynamic loader divides by it */
    }
    size_t first = table[1], words = table[2], bloom = words * sizeof(ElfW(Addr));
    ElfW(Addr) start = address + 4 * sizeof(uint32_t);
    const uint32_t *bucket = numbers_at(image, start + bloom, buckets);
    if (words == 0 || (words & (words - 1)) != 0 || bucket == NULL
        || owngil_image_at(image, start, bloom, _Alignof(ElfW(Addr))) == NULL) {
        return false;
    }
    for (size_t k = 0; k < buckets; k++) {
        if (bucket[k] != 0 && bucket[k] < first) {
            return false;
        }
    }
    return true;
}

static bool
is_hash_sound(const owngil_image *image, ElfW(Addr) address)
{
    const uint32_t *table = numbers_at(image, address, 2);
    size_t buckets = table != NULL ? table[0] : 0, symbols = table != NULL ? table[1] : 0;
    const uint32_t *bucket = numbers_at(image, address + 2 * sizeof(uint32_t), buckets + symbols);
    if (buckets == 0 || bucket == NULL) {
        return false;
    }
    const uint32_t *next = bucket + buckets;
    size_t steps = 0; /* no symbol is in two chains, nor twice in one */
    for (size_t k = 0; k < buckets; k++) {
        for (size_t symbol = bucket[k]; symbol != 0; symbol = next[symbol]) {
            if (symbol >= symbols || ++steps > symbols) {
                return false;
            }
        }
    }
    return true;
}

/* The dynamic loader uses the GNU table if there is one. */
static const char *
check_hash(const owngil_image *image)
{
    ElfW(Xword) address;
    bool sound = owngil_image_find(image, DT_GNU_HASH, &address) ? is_gnu_hash_sound(image, address)
                 : owngil_image_find(image, DT_HASH, &address)   ? is_hash_sound(image, address)
                                                                 : true;
    return sound ? NULL : "its hash table is damaged";
}

/* Whether the relocations that are packed in DT_RELR have their places in the library. */
static bool
are_packed_relocations_sound(const owngil_image *image)
{
    ElfW(Xword) address, size = 1, entry_size = sizeof(ElfW(Addr));
    if (!owngil_image_find(image, DT_RELR, &address)) {
        return true;
    }
    (void)owngil_image_find(image, DT_RELRSZ, &size);
    (void)owngil_image_find(image, DT_RELRENT, &entry_size);
    const ElfW(Addr) *entries = owngil_image_at(image, address, size, _Alignof(ElfW(Addr)));
    if (entries == NULL || size % sizeof(*entries) != 0 || entry_size != sizeof(*entries)) {
        return size == 0;
    }
    /* An even entry is a place. Each bit of an odd one, but for the lowest, tells of one of the words that follow. */
    ElfW(Addr) place = image->memory_end;
    for (size_t k = 0; k < size / sizeof(*entries); k++) {
        ElfW(Addr) bits = entries[k] & 1 ? entries[k] >> 1 : 1;
        size_t words = entries[k] & 1 ? 8 * sizeof(bits) - 1 : 1;
        place = entries[k] & 1 ? place : entries[k];
        for (size_t n = 0; n < words; n++, place += sizeof(ElfW(Addr))) {
            if ((bits >> n & 1) != 0 && owngil_image_segment_at(image, place) == NULL) {
                return false;
            }
        }
    }
    return true;
}

static const char *
check_relocations(const owngil_image *image)
{
    static const char damaged[] = "its relocations are damaged";
    ElfW(Xword) relative = 0, entry_size = sizeof(ElfW(Rela));
    (void)owngil_image_find(image, DT_RELACOUNT, &relative);
    (void)owngil_image_find(image, DT_RELAENT, &entry_size);
    for (size_t n = 0; n < 2; n++) {
        for (size_t k = 0; k < image->relocation_count[n]; k++) {
            const ElfW(Rela) *relocation = &image->relocations[n][k];
            if (owngil_image_segment_at(image, relocation->r_offset) == NULL
                || (n == 0 && k < relative && ELF64_R_TYPE(relocation->r_info) != RELATIVE)) {
                return damaged;
            }
        }
    }
    return entry_size == sizeof(ElfW(Rela)) && are_packed_relocations_sound(image) ? NULL : damaged;
}

/* Follows the needs of versions of other libraries' symbols. Returns whether they are sound; `*highest` becomes the
 * highest number that they give to a version. */
static bool
follow_needs(const owngil_image *image, size_t *highest)
{
    ElfW(Addr) at = 0, here;
    (void)owngil_image_find(image, DT_VERNEED, &at);
    while ((here = at) != 0) {
        const ElfW(Verneed) *need = owngil_image_version_need(image, &at);
        if (need == NULL || owngil_image_string_at(image, need->vn_file) == NULL) {
            return false;
        }
        const ElfW(Vernaux) * version;
        for (here += need->vn_aux;; here += version->vna_next) {
            version = owngil_image_at(image, here, sizeof(*version), _Alignof(ElfW(Vernaux)));
            if (version == NULL || owngil_image_string_at(image, version->vna_name) == NULL) {
                return false;
            }
            size_t number = version->vna_other & VERSION_NUMBER;
            *highest = number > *highest ? number : *highest;
            if (version->vna_next == 0) {
                break;
            }
        }
    }
    return true;
}

/* As above, for the versions of the library's own symbols. */
static bool
follow_definitions(const owngil_image *image, size_t *highest)
{
    ElfW(Addr) at = 0;
    const ElfW(Verdef) * definition;
    for (bool more = owngil_image_find(image, DT_VERDEF, &at); more; at += definition->vd_next) {
        definition = owngil_image_at(image, at, sizeof(*definition), _Alignof(ElfW(Verdef)));
        const ElfW(Verdaux) *name = definition == NULL ? NULL
                                                       : owngil_image_at(image, at + definition->vd_aux, sizeof(*name),
                                                                         _Alignof(ElfW(Verdaux)));
        if (name == NULL || owngil_image_string_at(image, name->vda_name) == NULL) {
            return false;
        }
        size_t number = definition->vd_ndx & VERSION_NUMBER;
        *highest = number > *highest ? number : *highest;
        more = definition->vd_next != 0;
    }
    return true;
}

/* DT_VERSYM gives each symbol the number of a version. The dynamic loader keeps the versions in an array that ends with
 * the highest number, or has none if there is no version. */
static const char *
check_versions(const owngil_image *image)
{
    static const char damaged[] = "its versions of symbols are damaged";
    size_t highest = 0;
    if (!follow_needs(image, &highest) || !follow_definitions(image, &highest)) {
        return damaged;
    }
    ElfW(Xword) address;
    if (!owngil_image_find(image, DT_VERSYM, &address)) {
        return highest == 0 ? NULL : damaged;
    }
    const ElfW(Versym) *numbers =
        owngil_image_at(image, address, image->symbol_count * sizeof(*numbers), _Alignof(ElfW(Versym)));
    for (size_t k = 1; k < image->symbol_count; k++) {
        if (numbers == NULL || highest == 0 || (numbers[k] & VERSION_NUMBER) > highest) {
            return damaged;
        }
    }
    return NULL;
}

const char *
owngil_checks_run(const owngil_image *image)
{
    static const char *(*const checks[])(const owngil_image *) = {check_segments, check_names, check_hash,
                                                                  check_relocations, check_versions};
    const char *damage = NULL;
    for (size_t k = 0; damage == NULL && k < sizeof(checks) / sizeof(checks[0]); k++) {
        damage = checks[k](image);
    }
    return damage;
}

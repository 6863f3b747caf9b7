#include "loader/elf/load.h"

#include "base/ids.h"
#include "loader/fork_gate.h"
#include "platform/memfile.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The relocations whose place holds the address of a symbol. */
#if defined(__x86_64__)
enum { JUMP_SLOT = R_X86_64_JUMP_SLOT, GLOBAL_DATA = R_X86_64_GLOB_DAT, ABSOLUTE = R_X86_64_64 };
#elif defined(__aarch64__)
enum { JUMP_SLOT = R_AARCH64_JUMP_SLOT, GLOBAL_DATA = R_AARCH64_GLOB_DAT, ABSOLUTE = R_AARCH64_ABS64 };
#else
#  error "owngil knows the relocations of x86-64 and aarch64 only"
#endif

/* Whether `map` is what the dynamic loader has made of the copy's file: no library that was loaded before. */
static bool
is_own(const owngil_loaded *self, const struct link_map *map)
{
    return strcmp(map->l_name, self->name) == 0
           && (uintptr_t)map->l_ld == map->l_addr + self->patch.elf.dynamic_address;
}

/* Spells `path`, which is absolute, as no earlier call did: puts "./" and ".//", which change nothing for the kernel,
 * before the file's name. They are the binary digits of a number that is never used again. Returns NULL without
 * memory. */
static char *
unique_spelling(const char *path)
{
    enum { DIGITS = 64, LONGEST = 3 };
    const char *file = strrchr(path, '/') + 1;
    char *name = malloc(strlen(path) + (size_t)DIGITS * LONGEST + 1);
    if (name != NULL) {
        char *end = mempcpy(name, path, (size_t)(file - path));
        for (uint64_t number = owngil_ids_next(); number != 0; number >>= 1) {
            end = stpcpy(end, number & 1 ? ".//" : "./");
        }
        (void)stpcpy(end, file);
    }
    return name;
}

static int
protection_of(const ElfW(Phdr) * segment)
{
    return ((segment->p_flags & PF_R) ? PROT_READ : 0) | ((segment->p_flags & PF_W) ? PROT_WRITE : 0)
           | ((segment->p_flags & PF_X) ? PROT_EXEC : 0);
}

/* Whether no other segment is loaded from the file's part that this one is loaded from. */
static bool
has_own_part(const owngil_image *elf, const ElfW(Phdr) * segment)
{
    for (size_t k = 0; k < elf->segment_count; k++) {
        const ElfW(Phdr) *other = &elf->segments[k];
        if (other != segment && other->p_type == PT_LOAD && other->p_offset < segment->p_offset + segment->p_filesz
            && segment->p_offset < other->p_offset + other->p_filesz) {
            return false;
        }
    }
    return true;
}

/* Maps the unchanged pages of read-only segments from the original. If that fails, the copy's own pages stay, which
 * have the same contents. */
static void
share_pages(const owngil_patch *patch, const struct link_map *map, int source, int copy)
{
    size_t page = patch->page;
    if (patch->elf.text_relocations) {
        return;
    }
    for (size_t k = 0; k < patch->elf.segment_count; k++) {
        const ElfW(Phdr) *segment = &patch->elf.segments[k];
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W) != 0 || segment->p_filesz != segment->p_memsz
            || segment->p_filesz == 0 || segment->p_offset % page != segment->p_vaddr % page
            || !has_own_part(&patch->elf, segment)) {
            continue;
        }
        size_t end = segment->p_offset + segment->p_filesz;
        size_t behind = (end + page - 1) / page;
        for (size_t first = segment->p_offset / page, last; first < behind; first = last + 1) {
            for (last = first; last < behind && !patch->changed[last]; last++) {
            }
            if (last == first) {
                continue;
            }
            uintptr_t start = map->l_addr + segment->p_vaddr + (first * page - segment->p_offset);
            if (mmap((void *)start, (last - first) * page, protection_of(segment), MAP_PRIVATE | MAP_FIXED, source,
                     (off_t)(first * page))
                == MAP_FAILED) {
                return;
            }
            /* The copy's pages are not needed any more, except those that the file shares with a neighbouring
             * segment. */
            size_t hole = first * page < segment->p_offset ? (first + 1) * page : first * page;
            size_t hole_end = last * page > end ? end / page * page : last * page;
            if (hole_end > hole) {
                owngil_memfile_drop(copy, (off_t)hole, (off_t)(hole_end - hole));
            }
        }
    }
}

/* Writes an address into the loaded copy, even where that has become read-only. Returns 0 or an errno. */
static int
write_address(const owngil_patch *patch, const struct link_map *map, ElfW(Addr) place, void *value)
{
    int protection = protection_of(owngil_image_segment_at(&patch->elf, place));
    ElfW(Addr) mask = ~(ElfW(Addr))(patch->page - 1), page = place & mask;
    if (page >= (patch->elf.relro & mask) && page < (patch->elf.relro_end & mask)) {
        protection &= ~PROT_WRITE;
    }
    void *start = (void *)(map->l_addr + page);
    /* A relocation in text may be at any address, aligned or not. */
    size_t size = place + sizeof(void *) - page > patch->page ? 2 * patch->page : patch->page;
    bool writable = (protection & PROT_WRITE) != 0;
    /* Text stays executable meanwhile. NOLINTNEXTLINE(clang-analyzer-security.MmapWriteExec) */
    if (!writable && mprotect(start, size, PROT_READ | PROT_WRITE | protection) != 0) {
        return errno;
    }
    memcpy((void *)(map->l_addr + place), &value, sizeof(value));
    return writable || mprotect(start, size, protection) == 0 ? 0 : errno;
}

/* Whether no other relocation writes to the place of this one. */
static bool
is_alone(const owngil_image *elf, const ElfW(Rela) * relocation)
{
    for (size_t n = 0; n < 2; n++) {
        for (size_t k = 0; k < elf->relocation_count[n]; k++) {
            const ElfW(Rela) *other = &elf->relocations[n][k];
            ElfW(Addr) distance = other->r_offset - relocation->r_offset + sizeof(void *) - 1;
            if (other != relocation && distance < 2 * sizeof(void *) - 1) {
                return false;
            }
        }
    }
    return true;
}

/* Makes one of the copy's references to a symbol go elsewhere. Returns NULL, or a sentence (static, or from strerror)
 * that says why it cannot. */
static const char *
redirect_reference(const owngil_patch *patch, const struct link_map *map, const ElfW(Rela) * relocation,
                   const owngil_redirection *redirection)
{
    const owngil_image *elf = &patch->elf;
    unsigned int type = (unsigned int)ELF64_R_TYPE(relocation->r_info);
    if (type != JUMP_SLOT && type != GLOBAL_DATA && type != ABSOLUTE) {
        return "its relocation is of a type that owngil does not know";
    }
    if (relocation->r_addend != 0) {
        return "its relocation has an addend";
    }
    ElfW(Addr) place = relocation->r_offset;
    const ElfW(Phdr) *segment = owngil_image_segment_at(elf, place);
    if (segment == NULL || segment->p_memsz - (place - segment->p_vaddr) < sizeof(void *)) {
        return "its place is outside of the library";
    }
    if (!is_alone(elf, relocation)) {
        return "its place is that of another one, too";
    }
    void *original;
    memcpy(&original, (const void *)(map->l_addr + place), sizeof(void *));
    /* NULL: a weak symbol that no library has; the copy asks whether it is there. An address of the copy itself: it has
     * a function of that name, and is linked to use it. */
    if (original == NULL || (uintptr_t)original - map->l_addr < elf->memory_end) {
        return NULL;
    }
    if (redirection->original != NULL && *redirection->original == NULL) {
        *redirection->original = original;
    }
    int error = write_address(patch, map, place, redirection->to);
    return error != 0 ? strerror(error) : NULL;
}

/* Returns the redirection of the symbol called `name`, or NULL. */
static const owngil_redirection *
find_redirection(const char *name, const owngil_redirection *redirections, size_t count)
{
    for (size_t n = 0; n < count; n++) {
        if (name[0] == redirections[n].name[0] && strcmp(name, redirections[n].name) == 0) {
            return &redirections[n];
        }
    }
    return NULL;
}

/* Makes the copy's references to symbols go elsewhere: also to those that the copy has itself, because the dynamic
 * loader prefers the functions of the program and the C library. Returns 0, or -1 with `why` filled in. */
static int
redirect(const owngil_patch *patch, const struct link_map *map, const owngil_redirection *redirections, size_t count,
         char *why, size_t why_size)
{
    const owngil_image *elf = &patch->elf;
    for (size_t n = 0; n < 2 && count > 0; n++) {
        for (size_t k = 0; k < elf->relocation_count[n]; k++) {
            const ElfW(Rela) *relocation = &elf->relocations[n][k];
            size_t number = ELF64_R_SYM(relocation->r_info);
            const owngil_redirection *redirection =
                number != 0 ? find_redirection(owngil_image_symbol_name(elf, number), redirections, count) : NULL;
            const char *problem = redirection != NULL ? redirect_reference(patch, map, relocation, redirection) : NULL;
            if (problem != NULL) {
                snprintf(why, why_size, "its reference to %s cannot be redirected: %s", redirection->name, problem);
                return -1;
            }
        }
    }
    return 0;
}

/* Makes the file for the copy in `directory` (NULL: memory), with all the room it needs. Returns 0 or an errno. */
static int
reserve_in(owngil_loaded *self, const char *directory, const char *label)
{
    self->file = owngil_memfile_open(directory, label);
    if (self->file < 0) {
        return errno;
    }
    /* On file systems that are mounted noexec, this fails: no library can be loaded from there. */
    void *probe = mmap(NULL, self->patch.page, PROT_READ | PROT_EXEC, MAP_PRIVATE, self->file, 0);
    int error = probe == MAP_FAILED ? errno : posix_fallocate(self->file, 0, (off_t)self->patch.elf.load_end);
    if (probe != MAP_FAILED) {
        munmap(probe, self->patch.page);
    }
    if (error != 0) {
        close(self->file);
        self->file = -1;
    }
    return error;
}

/* Makes the file for the copy and sets `self->name` and `self->path`. Returns 0, or -1 with `why` filled in. */
static int
reserve(owngil_loaded *self, const char *path, const char *const *directories, char *why, size_t why_size)
{
    char label[128], file[64]; /* the label is what /proc/PID/maps and debuggers show */
    snprintf(label, sizeof(label), "owngil:%s", strrchr(path, '/') + 1);
    int error = reserve_in(self, NULL, label);
    if (error != 0) {
        snprintf(why, why_size, "no place was found for it; tried: in memory (%s)", strerror(error));
    }
    for (size_t k = 0; error != 0 && directories[k] != NULL; k++) {
        error = reserve_in(self, directories[k], label);
        size_t used = strlen(why);
        snprintf(why + used, why_size - used, ", in %s (%s)", directories[k], strerror(error));
    }
    if (error != 0) {
        return -1;
    }
    why[0] = '\0';
    snprintf(file, sizeof(file), "/proc/self/fd/%d", self->file);
    if (access(file, R_OK) < 0) {
        snprintf(why, why_size, "%s is missing: owngil needs /proc", file);
        return -1;
    }
    self->name = unique_spelling(file);
    self->path = unique_spelling(path);
    if (self->name == NULL || self->path == NULL) {
        snprintf(why, why_size, "%s", strerror(ENOMEM));
        return -1;
    }
    return 0;
}

int
owngil_load_reserve(owngil_loaded *self, const char *path, const char *const *directories, char *why, size_t why_size)
{
    *self = (owngil_loaded){.source = -1, .file = -1};
    self->source = path[0] == '/' ? open(path, O_RDONLY | O_CLOEXEC) : (errno = EINVAL, -1);
    if (self->source < 0) {
        snprintf(why, why_size, "it cannot be read: %s", strerror(errno));
        return -1;
    }
    const char *damage = owngil_patch_init(&self->patch, self->source);
    if (damage != NULL) {
        snprintf(why, why_size, "%s", damage);
        return -1;
    }
    return reserve(self, path, directories, why, why_size);
}

/* Whether the original needs the library `name`. If so, the copy gets a new name at both places, or at none. */
static bool
needs(const owngil_loaded *self, const char *name)
{
    const char *needed;
    for (size_t k = 0; (needed = owngil_image_needed(&self->patch.elf, &k)) != NULL;) {
        if (strcmp(needed, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Checks that the libraries whose versions of symbols the copy needs are there: the dynamic loader ends the process if
 * one is not. Returns 0, or -1 with `why` filled in. */
static int
check_version_files(const owngil_loaded *self, char *why, size_t why_size)
{
    const owngil_image *elf = &self->patch.elf;
    ElfW(Addr) at = 0;
    (void)owngil_image_find(elf, DT_VERNEED, &at);
    for (const ElfW(Verneed) * need; (need = owngil_image_version_need(elf, &at)) != NULL;) {
        const char *name = owngil_image_string_at(elf, need->vn_file);
        if (name != NULL && !needs(self, name)) {
            void *handle = owngil_fork_gate_open(name, RTLD_LAZY | RTLD_NOLOAD);
            if (handle == NULL) {
                snprintf(why, why_size, "it needs versions of %s, but not this library", name);
                return -1;
            }
            owngil_fork_gate_close(handle);
        }
    }
    return 0;
}

int
owngil_load_write(owngil_loaded *self, const owngil_rename *renames, size_t count, char *why, size_t why_size)
{
    if (self->written) {
        snprintf(why, why_size, "its copy was written before");
        return -1;
    }
    self->written = true;
    const char *problem = owngil_patch_apply(&self->patch, renames, count);
    int error = problem == NULL ? owngil_patch_write(&self->patch, self->file) : 0;
    if (problem != NULL || error != 0) {
        snprintf(why, why_size, "its copy cannot be written: %s", problem != NULL ? problem : strerror(error));
        return -1;
    }
    return check_version_files(self, why, why_size);
}

/* The dynamic loader's arguments for constructors. Some constructors read the command line from them. */
static int main_argc;
static char **main_argv, **main_environment;

__attribute__((constructor)) static void
remember_arguments(int argc, char **argv, char **environment)
{
    main_argc = argc;
    main_argv = argv;
    main_environment = environment;
}

/* Runs the constructors. The dynamic loader would have run them before redirect(), which would then miss threads that
 * they start, for instance. */
static void
run_constructors(const owngil_loaded *self)
{
    typedef void (*function)(int, char **, char **);
    const owngil_image *elf = &self->patch.elf;
    owngil_fork_gate_enter();
    if (elf->init != 0) {
        ((function)(self->start + elf->init))(main_argc, main_argv, main_environment);
    }
    for (size_t k = 0; k < elf->init_count; k++) {
        ((function *)(self->start + elf->init_array))[k](main_argc, main_argv, main_environment);
    }
    owngil_fork_gate_leave();
}

static bool
uses_parsers(const owngil_image *elf)
{
    static const char prefix[] = "_PyArg_";
    const char *name;
    for (size_t k = 0; (name = owngil_image_next_import(elf, &k)) != NULL;) {
        if (strncmp(name, prefix, sizeof(prefix) - 1) == 0) {
            return true;
        }
    }
    return false;
}

/* Frees what only an unloaded copy needs. */
static void
clear_sources(owngil_loaded *self)
{
    owngil_patch_clear(&self->patch);
    if (self->file >= 0) {
        close(self->file);
    }
    if (self->source >= 0) {
        close(self->source);
    }
    self->file = self->source = -1;
}

int
owngil_load_open(owngil_loaded *self, const owngil_redirection *redirections, size_t redirection_count, char *why,
                 size_t why_size)
{
    if (self->handle != NULL) {
        return 0;
    }
    void *handle = owngil_fork_gate_open(self->name, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL || dlinfo(handle, RTLD_DI_LINKMAP, &self->map) != 0) {
        const char *said = dlerror();
        snprintf(why, why_size, "the dynamic loader says: %s", said != NULL ? said : "nothing");
        if (handle != NULL) {
            owngil_fork_gate_close(handle);
        }
        return -1;
    }
    if (!is_own(self, self->map)) {
        /* The handle stays open: it may be another copy's only one. */
        snprintf(why, why_size, "the dynamic loader returned another library instead of the copy: %s",
                 self->map->l_name);
        return -1;
    }
    share_pages(&self->patch, self->map, self->source, self->file);
    if (redirect(&self->patch, self->map, redirections, redirection_count, why, why_size) < 0) {
        owngil_fork_gate_close(handle); /* its constructors have not run */
        return -1;
    }
    self->handle = handle;
    /* From here on, dladdr() and code that walks the list of libraries find the original's path, and so the files
     * beside it. owngil_load_clear() puts the loader's own name back, which the loader will free. */
    self->loader_name = self->map->l_name;
    self->map->l_name = self->path;

    const owngil_image *elf = &self->patch.elf;
    self->start = self->map->l_addr;
    self->end = self->map->l_addr + elf->memory_end;
    self->fini = elf->fini != 0 ? (void (*)(void))(self->start + elf->fini) : NULL;
    self->fini_array = (void (**)(void))(self->start + elf->fini_array);
    self->fini_count = elf->fini_count;
    self->uses_parsers = uses_parsers(elf);
    return 0;
}

void
owngil_load_start(owngil_loaded *self)
{
    if (!self->started) {
        self->started = true;
        run_constructors(self);
        clear_sources(self);
    }
}

/* Unloads the copy, if it is loaded. */
static void
unload(owngil_loaded *self)
{
    if (self->handle != NULL) {
        self->map->l_name = self->loader_name;
        owngil_fork_gate_close(self->handle);
        self->handle = NULL;
        self->start = self->end = 0;
    }
}

void
owngil_load_cancel(owngil_loaded *self)
{
    if (!self->started) {
        unload(self);
    }
}

void
owngil_load_finish(const owngil_loaded *self)
{
    owngil_fork_gate_enter();
    for (size_t k = self->fini_count; k-- > 0;) {
        self->fini_array[k]();
    }
    if (self->fini != NULL) {
        self->fini();
    }
    owngil_fork_gate_leave();
}

void
owngil_load_clear(owngil_loaded *self)
{
    unload(self);
    clear_sources(self);
    free(self->name);
    free(self->path);
}

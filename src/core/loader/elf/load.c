#include "loader/elf/load.h"

#include "base/ids.h"
#include "loader/fork_gate.h"
#include "platform/memfile.h"

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

#if defined(__x86_64__)
static const unsigned int symbolic[] = {R_X86_64_JUMP_SLOT, R_X86_64_GLOB_DAT, R_X86_64_64};
#elif defined(__aarch64__)
static const unsigned int symbolic[] = {R_AARCH64_JUMP_SLOT, R_AARCH64_GLOB_DAT, R_AARCH64_ABS64};
#else
#  error "owngil knows the relocations of x86-64 and aarch64 only"
#endif

typedef struct {
    char *text;
    size_t size, used;
} explanation;

static void
explain(explanation *self, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int count = vsnprintf(self->text + self->used, self->size - self->used, format, arguments);
    va_end(arguments);
    self->used += count < 0 ? 0 : (size_t)count;
    self->used = self->used < self->size ? self->used : self->size - 1;
}

/* Writes `path`, which is absolute, as no earlier call wrote it: "." and one or two slashes change nothing for the
 * kernel, but the name. They are the binary digits of a number that is never used again. Returns NULL: no memory. */
static char *
spell_anew(const char *path)
{
    enum { DIGITS = 64, LONGEST = 3 };
    const char *slash = strrchr(path, '/');
    size_t head = (size_t)(slash + 1 - path), size = strlen(path) + (size_t)DIGITS * LONGEST + 1;
    char *name = malloc(size);
    if (name == NULL) {
        return NULL;
    }
    size_t used = (size_t)snprintf(name, size, "%.*s", (int)head, path);
    for (uint64_t number = owngil_ids_next(); number != 0; number >>= 1) {
        used += (size_t)snprintf(name + used, size - used, number & 1 ? ".//" : "./");
    }
    snprintf(name + used, size - used, "%s", slash + 1);
    return name;
}

/* Maps what did not change in the read-only segments from the original. What fails leaves the copy's own pages, which
 * are as good. */
static void
share_pages(const owngil_patch *edit, const struct link_map *map, int source, int copy)
{
    size_t page = edit->page;
    if (edit->elf.text_relocations) {
        return;
    }
    for (size_t k = 0; k < edit->elf.segment_count; k++) {
        const ElfW(Phdr) *segment = &edit->elf.segments[k];
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W) != 0 || segment->p_filesz != segment->p_memsz
            || segment->p_filesz == 0 || segment->p_offset % page != segment->p_vaddr % page) {
            continue;
        }
        int protection = ((segment->p_flags & PF_R) ? PROT_READ : 0) | ((segment->p_flags & PF_X) ? PROT_EXEC : 0);
        size_t behind = (segment->p_offset + segment->p_filesz + page - 1) / page;
        for (size_t first = segment->p_offset / page, last; first < behind; first = last + 1) {
            for (last = first; last < behind && !edit->changed[last]; last++) {
            }
            if (last == first) {
                continue;
            }
            uintptr_t start = map->l_addr + segment->p_vaddr + (first * page - segment->p_offset);
            if (mmap((void *)start, (last - first) * page, protection, MAP_PRIVATE | MAP_FIXED, source,
                     (off_t)(first * page))
                == MAP_FAILED) {
                return;
            }
            /* The copy's pages are of no more use, except those that the file shares with a neighbouring segment. */
            size_t hole = first * page < segment->p_offset ? (first + 1) * page : first * page;
            size_t end = segment->p_offset + segment->p_filesz;
            end = last * page > end ? end / page * page : last * page;
            if (end > hole) {
                owngil_memfile_drop(copy, (off_t)hole, (off_t)(end - hole));
            }
        }
    }
}

/* How the segment is mapped that has the address `place`. */
static int
protection_at(const owngil_patch *edit, ElfW(Addr) place)
{
    for (size_t k = 0; k < edit->elf.segment_count; k++) {
        const ElfW(Phdr) *segment = &edit->elf.segments[k];
        if (segment->p_type == PT_LOAD && place >= segment->p_vaddr && place - segment->p_vaddr < segment->p_memsz) {
            return ((segment->p_flags & PF_R) != 0 ? PROT_READ : 0) | ((segment->p_flags & PF_W) != 0 ? PROT_WRITE : 0)
                   | ((segment->p_flags & PF_X) != 0 ? PROT_EXEC : 0);
        }
    }
    return PROT_READ | PROT_WRITE;
}

/* Writes an address into the loaded copy, also where it is read-only by now. */
static void
poke(const owngil_patch *edit, const struct link_map *map, ElfW(Addr) place, void *value)
{
    void *target = (void *)(map->l_addr + place); /* not aligned, in text */
    ElfW(Addr) page = place & ~(ElfW(Addr))(edit->page - 1);
    bool constant = page >= (edit->elf.relro & ~(ElfW(Addr))(edit->page - 1))
                    && page < (edit->elf.relro_end & ~(ElfW(Addr))(edit->page - 1));
    int protection = protection_at(edit, place);
    protection = constant ? protection & ~PROT_WRITE : protection;
    void *start = (void *)(map->l_addr + page);
    /* A relocation in text may be at any address. */
    size_t size = place + sizeof(void *) - page > edit->page ? 2 * edit->page : edit->page;
    bool writable = (protection & PROT_WRITE) != 0;
    if (!writable && mprotect(start, size, PROT_READ | PROT_WRITE | protection) != 0) {
        return;
    }
    memcpy(target, &value, sizeof(value));
    if (!writable) {
        (void)mprotect(start, size, protection);
    }
}

static bool
is_symbolic(unsigned int type)
{
    for (size_t k = 0; k < sizeof(symbolic) / sizeof(symbolic[0]); k++) {
        if (type == symbolic[k]) {
            return true;
        }
    }
    return false;
}

/* Lets the copy's references to the symbols go elsewhere. */
static void
redirect(const owngil_patch *edit, const struct link_map *map, owngil_redirection *redirections, size_t count)
{
    for (size_t k = 1; k < edit->elf.symbol_count; k++) {
        const ElfW(Sym) *symbol = &edit->elf.symbols[k];
        if (symbol->st_shndx != SHN_UNDEF) {
            continue;
        }
        const char *name = owngil_image_name(&edit->elf, symbol);
        owngil_redirection *redirection = NULL;
        for (size_t n = 0; n < count && redirection == NULL; n++) {
            redirection = strcmp(name, redirections[n].name) == 0 ? &redirections[n] : NULL;
        }
        if (redirection == NULL) {
            continue;
        }
        for (size_t n = 0; n < 2; n++) {
            const ElfW(Rela) *relocation = edit->elf.relocations[n];
            for (size_t left = edit->elf.relocation_count[n]; left > 0; left--, relocation++) {
                if (ELF64_R_SYM(relocation->r_info) == k && is_symbolic((unsigned int)ELF64_R_TYPE(relocation->r_info))
                    && relocation->r_addend == 0 && relocation->r_offset <= edit->elf.memory_end - sizeof(void *)) {
                    memcpy(&redirection->from, (const void *)(map->l_addr + relocation->r_offset), sizeof(void *));
                    poke(edit, map, relocation->r_offset, redirection->to);
                }
            }
        }
    }
}

/* Whether libraries can be loaded from where the file is: it is not so on file systems that are mounted noexec. */
static int
check_executable(int fd, size_t page)
{
    void *address = mmap(NULL, page, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    if (address == MAP_FAILED) {
        return errno;
    }
    munmap(address, page);
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
    int error = check_executable(self->file, self->edit.page);
    if (error == 0) {
        error = posix_fallocate(self->file, 0, (off_t)self->edit.elf.load_end);
    }
    if (error != 0) {
        close(self->file);
        self->file = -1;
    }
    return error;
}

static int
reserve(owngil_loaded *self, const char *path, const char *const *directories, explanation *why)
{
    const char *base = strrchr(path, '/');
    char label[128], file[64]; /* the label is what /proc/PID/maps and debuggers show */
    snprintf(label, sizeof(label), "owngil:%s", base != NULL ? base + 1 : path);
    int error = reserve_in(self, NULL, label);
    if (error != 0) {
        explain(why, "no place was found for it; tried: in memory (%s)", strerror(error));
        for (size_t k = 0; error != 0 && directories[k] != NULL; k++) {
            error = reserve_in(self, directories[k], label);
            if (error != 0) {
                explain(why, ", in %s (%s)", directories[k], strerror(error));
            }
        }
    }
    if (error != 0) {
        return -1;
    }
    snprintf(file, sizeof(file), "/proc/self/fd/%d", self->file);
    if (access(file, R_OK) < 0) {
        explain(why, "%s is missing: owngil needs /proc", file);
        return -1;
    }
    self->name = spell_anew(file);
    self->path = spell_anew(path);
    if (self->name == NULL || self->path == NULL) {
        explain(why, "%s", strerror(ENOMEM));
        return -1;
    }
    why->text[0] = '\0';
    return 0;
}

int
owngil_load_reserve(owngil_loaded *self, const char *path, const char *const *directories, char *why, size_t why_size)
{
    explanation reason = {.text = why, .size = why_size};
    *self = (owngil_loaded){.source = -1, .file = -1};
    self->source = path[0] == '/' ? open(path, O_RDONLY | O_CLOEXEC) : (errno = EINVAL, -1);
    if (self->source < 0) {
        explain(&reason, "it cannot be read: %s", strerror(errno));
        return -1;
    }
    const char *damage = owngil_patch_init(&self->edit, self->source);
    if (damage != NULL) {
        explain(&reason, "%s", damage);
        return -1;
    }
    return reserve(self, path, directories, &reason);
}

int
owngil_load_write(owngil_loaded *self, const owngil_rename *renames, size_t count, char *why, size_t why_size)
{
    int error = owngil_patch_apply(&self->edit, renames, count) ? owngil_patch_write(&self->edit, self->file) : ENOMEM;
    if (error != 0) {
        snprintf(why, why_size, "its copy cannot be written: %s", strerror(error));
        return -1;
    }
    return 0;
}

/* What the dynamic loader passes to functions that begin a library; some find the command line there. */
static int main_argc;
static char **main_argv, **main_environment;

__attribute__((constructor)) static void
remember_arguments(int argc, char **argv, char **environment)
{
    main_argc = argc;
    main_argv = argv;
    main_environment = environment;
}

/* Runs the constructors. The dynamic loader would have run them before redirect(), and threads that they start, say,
 * would be missed. */
static void
begin(const owngil_loaded *self)
{
    typedef void (*function)(int, char **, char **);
    const owngil_image *elf = &self->edit.elf;
    owngil_fork_gate_enter();
    if (elf->init != 0) {
        ((function)(self->start + elf->init))(main_argc, main_argv, main_environment);
    }
    for (size_t k = 0; k < elf->init_count; k++) {
        ((function *)(self->start + elf->init_array))[k](main_argc, main_argv, main_environment);
    }
    owngil_fork_gate_leave();
}

int
owngil_load_open(owngil_loaded *self, owngil_redirection *redirections, size_t redirection_count, char *why,
                 size_t why_size)
{
    void *handle = owngil_fork_gate_open(self->name, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL || dlinfo(handle, RTLD_DI_LINKMAP, &self->map) != 0) {
        const char *said = dlerror();
        snprintf(why, why_size, "the dynamic loader says: %s", said != NULL ? said : "nothing");
        return -1;
    }
    self->handle = handle;
    share_pages(&self->edit, self->map, self->source, self->file);
    redirect(&self->edit, self->map, redirections, redirection_count);
    /* From here on dladdr(), and whoever walks the list of libraries, finds the original's path, of which files beside
     * it can be found. The loader's own name comes back before it frees that. */
    self->loader_name = self->map->l_name;
    self->map->l_name = self->path;

    const owngil_image *elf = &self->edit.elf;
    self->start = self->map->l_addr;
    self->end = self->map->l_addr + elf->memory_end;
    self->fini = elf->fini != 0 ? (void (*)(void))(self->start + elf->fini) : NULL;
    self->fini_array = (void (**)(void))(self->start + elf->fini_array);
    self->fini_count = elf->fini_count;
    self->uses_parsers = owngil_image_uses(elf, "_PyArg_");

    begin(self);
    owngil_patch_clear(&self->edit);
    close(self->file);
    close(self->source);
    self->file = self->source = -1;
    return 0;
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
    if (self->handle != NULL) {
        self->map->l_name = self->loader_name;
        owngil_fork_gate_close(self->handle);
    }
    owngil_patch_clear(&self->edit);
    if (self->file >= 0) {
        close(self->file);
    }
    if (self->source >= 0) {
        close(self->source);
    }
    free(self->name);
    free(self->path);
}

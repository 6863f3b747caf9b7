#include "elf_load.h"

#include "runtime.h"

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

/* An open file without a name in `directory`; NULL: in memory. Returns the descriptor, or -1 with errno. */
static int
open_nameless(const char *directory, const char *label)
{
    if (directory == NULL) {
        return memfd_create(label, MFD_CLOEXEC);
    }
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR)) {
        return fd;
    }
    char name[PATH_MAX]; /* a file system without such files: for a moment, it has a name */
    if (snprintf(name, sizeof(name), "%s/owngil-XXXXXX", directory) >= (int)sizeof(name)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = mkostemp(name, O_CLOEXEC);
    if (fd >= 0) {
        unlink(name);
    }
    return fd;
}

/* Writes `path`, which is absolute, as no earlier call wrote it: "." and one or two slashes change nothing for the
 * kernel, but the name. They are the binary digits of a number that is never used again. Returns NULL: no memory. */
static char *
spell_anew(const char *path)
{
    enum { DIGITS = 64, LONGEST = 3 };
    const char *slash = strrchr(path, '/');
    size_t head = (size_t)(slash + 1 - path), size = strlen(path) + DIGITS * LONGEST + 1;
    char *name = malloc(size);
    if (name == NULL) {
        return NULL;
    }
    size_t used = (size_t)snprintf(name, size, "%.*s", (int)head, path);
    for (uint64_t number = owngil_runtime_next_number(); number != 0; number >>= 1) {
        used += (size_t)snprintf(name + used, size - used, number & 1 ? ".//" : "./");
    }
    snprintf(name + used, size - used, "%s", slash + 1);
    return name;
}

/* Maps what did not change in the read-only segments from the original. What fails leaves the copy's own pages, which
 * are as good. */
static void
share_pages(const owngil_edit *edit, const struct link_map *map, int source, int copy)
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
                     (off_t)(first * page)) == MAP_FAILED) {
                return;
            }
            /* The copy's pages are of no more use, except those that the file shares with a neighbouring segment. */
            size_t hole = first * page < segment->p_offset ? (first + 1) * page : first * page;
            size_t end = segment->p_offset + segment->p_filesz;
            end = last * page > end ? end / page * page : last * page;
            if (end > hole) {
                (void)fallocate(copy, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)hole, (off_t)(end - hole));
            }
        }
    }
}

/* Writes an address into the loaded copy, also where it is read-only by now. */
static void
poke(const owngil_edit *edit, const struct link_map *map, ElfW(Addr) place, void *value)
{
    void **target = (void **)(map->l_addr + place);
    ElfW(Addr) page = place & ~(ElfW(Addr))(edit->page - 1);
    bool constant = page >= (edit->elf.relro & ~(ElfW(Addr))(edit->page - 1))
                    && page < (edit->elf.relro_end & ~(ElfW(Addr))(edit->page - 1));
    void *start = (void *)(map->l_addr + page);
    if (constant && mprotect(start, edit->page, PROT_READ | PROT_WRITE) != 0) {
        return;
    }
    *target = value;
    if (constant) {
        (void)mprotect(start, edit->page, PROT_READ);
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
redirect(const owngil_edit *edit, const struct link_map *map, owngil_redirection *redirections, size_t count)
{
    for (size_t k = 1; k < edit->elf.symbol_count; k++) {
        const ElfW(Sym) *symbol = &edit->elf.symbols[k];
        if (symbol->st_shndx != SHN_UNDEF) {
            continue;
        }
        const char *name = owngil_elf_name(&edit->elf, symbol);
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
                    redirection->from = *(void **)(map->l_addr + relocation->r_offset);
                    poke(edit, map, relocation->r_offset, redirection->to);
                }
            }
        }
    }
}

/* Whether another place for the file may help: the loader complains of the file itself, not of what is in it. */
static bool
place_is_to_blame(const char *error, const char *name)
{
    return strncmp(error, name, strlen(name)) == 0
           && (strstr(error, "failed to map") != NULL || strstr(error, "cannot open") != NULL);
}

/* Puts the copy into a file of `directory` (NULL: memory) and loads it. Returns the handle, or NULL with the reason
 * explained; *final says that it would be the same elsewhere. */
static void *
load_from(owngil_loaded *self, const owngil_edit *edit, const char *directory, const char *label, int source,
          explanation *why, bool *final)
{
    void *handle = NULL;
    int copy = open_nameless(directory, label);
    int error = copy < 0 ? errno : owngil_edit_write(edit, copy);
    char path[64];
    *final = false;
    if (error == 0) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", copy);
        self->name = spell_anew(path);
        error = self->name == NULL ? ENOMEM : 0;
    }
    if (error != 0) {
        explain(why, "%s", strerror(error));
    }
    else if ((handle = dlopen(self->name, RTLD_NOW | RTLD_LOCAL)) == NULL) {
        const char *said = dlerror();
        said = said != NULL ? said : "nothing";
        *final = !place_is_to_blame(said, self->name);
        why->used = *final ? 0 : why->used;
        explain(why, "the dynamic loader says: %s", said);
        free(self->name);
        self->name = NULL;
    }
    else if (dlinfo(handle, RTLD_DI_LINKMAP, &self->map) == 0) { /* it cannot fail for a handle that is open */
        share_pages(edit, self->map, source, copy);
    }
    if (copy >= 0) {
        close(copy);
    }
    return handle;
}

static int
load(owngil_loaded *self, const owngil_load_request *request, const owngil_edit *edit, int source, explanation *why)
{
    const char *base = strrchr(request->path, '/');
    char label[128]; /* what /proc/PID/maps and debuggers show */
    snprintf(label, sizeof(label), "owngil:%s", base != NULL ? base + 1 : request->path);
    bool final;
    explain(why, "no place was found for it; tried in memory: ");
    self->handle = load_from(self, edit, NULL, label, source, why, &final);
    for (size_t k = 0; self->handle == NULL && !final && request->directories[k] != NULL; k++) {
        explain(why, "; in %s: ", request->directories[k]);
        self->handle = load_from(self, edit, request->directories[k], label, source, why, &final);
    }
    return self->handle != NULL ? 0 : -1;
}

/* From here on dladdr(), and whoever walks the list of libraries, finds the original's path, of which files beside it
 * can be found. The loader's own name comes back before it frees that. */
static void
show_original(owngil_loaded *self, const char *path)
{
    self->path = path[0] == '/' ? spell_anew(path) : NULL;
    self->loader_name = self->map->l_name;
    if (self->path != NULL) {
        self->map->l_name = self->path;
    }
}

int
owngil_elf_load(owngil_loaded *self, const owngil_load_request *request, owngil_redirection *redirections,
                size_t redirection_count, char *why, size_t why_size)
{
    explanation reason = {.text = why, .size = why_size};
    owngil_edit edit;
    int result = -1;
    *self = (owngil_loaded){.handle = NULL};
    int source = open(request->path, O_RDONLY | O_CLOEXEC);
    if (source < 0) {
        explain(&reason, "it cannot be read: %s", strerror(errno));
        return -1;
    }
    const char *damage = owngil_edit_init(&edit, source);
    if (damage != NULL) {
        explain(&reason, "%s", damage);
    }
    else if (!owngil_edit_apply(&edit, request->renames, request->rename_count)) {
        explain(&reason, "%s", strerror(ENOMEM));
    }
    else {
        result = load(self, request, &edit, source, &reason);
    }
    if (result == 0) {
        redirect(&edit, self->map, redirections, redirection_count);
        show_original(self, request->path);
        self->start = self->map->l_addr;
        self->end = self->map->l_addr + edit.elf.memory_end;
        self->fini = edit.elf.fini != 0 ? (void (*)(void))(self->start + edit.elf.fini) : NULL;
        self->fini_array = (void (**)(void))(self->start + edit.elf.fini_array);
        self->fini_count = edit.elf.fini_count;
    }
    owngil_edit_clear(&edit);
    close(source);
    return result;
}

void
owngil_elf_finish(const owngil_loaded *self)
{
    for (size_t k = self->fini_count; k-- > 0;) {
        self->fini_array[k]();
    }
    if (self->fini != NULL) {
        self->fini();
    }
}

void
owngil_elf_unload(owngil_loaded *self)
{
    self->map->l_name = self->loader_name;
    dlclose(self->handle);
    free(self->name);
    free(self->path);
}

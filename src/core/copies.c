#include "copies.h"

#include "argparsers.h"
#include "gilstate.h"
#include "interp.h"
#include "shim.h"

#include <dlfcn.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
owngil_copies_init(owngil_copies *self)
{
    pthread_mutex_init(&self->lock, NULL);
}

static void
keep(owngil_worker *worker, const void *address)
{
    owngil_copies_keep(&worker->copies, address);
}

/* The shim's function for `name`, or NULL. */
static void *
lookup(owngil_worker *worker, const char *name)
{
#define NAME(name) #name,
    static const char *const names[] = {OWNGIL_SHIM_FUNCTIONS(NAME)};
#undef NAME
    for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
        if (name != NULL && strcmp(name, names[k]) == 0) {
            char symbol[64];
            snprintf(symbol, sizeof(symbol), "owngil_shim_%s", name);
            return dlsym(worker->copies.shim.handle, symbol);
        }
    }
    return NULL;
}

static int
add_exit(owngil_worker *worker, void (*function)(void))
{
    return owngil_copies_add_exit(&worker->copies, function);
}

static void
add_key(owngil_worker *worker, pthread_key_t key, const void *destroy)
{
    owngil_copies_add_key(&worker->copies, key, destroy);
}

static void
remove_key(owngil_worker *worker, pthread_key_t key)
{
    owngil_copies_remove_key(&worker->copies, key);
}

/* The shim lies beside this module. */
static bool
find_shim(char *path, size_t size)
{
    Dl_info here;
    const char *slash =
        dladdr((const void *)find_shim, &here) != 0 && here.dli_fname != NULL ? strrchr(here.dli_fname, '/') : NULL;
    return slash != NULL
           && snprintf(path, size, "%.*s/" OWNGIL_SHIM_FILE, (int)(slash - here.dli_fname), here.dli_fname) < (int)size;
}

static owngil_shim *
load_shim(owngil_copies *self, owngil_worker *worker, const char *const *directories, char *why, size_t why_size)
{
    if (self->shim.handle == NULL) {
        char path[PATH_MAX];
        if (!find_shim(path, sizeof(path))) {
            snprintf(why, why_size, "owngil's own folder cannot be found");
            return NULL;
        }
        if (owngil_elf_reserve(&self->shim, path, directories, why, why_size) < 0
            || owngil_elf_write(&self->shim, NULL, 0, why, why_size) < 0
            || owngil_elf_load(&self->shim, NULL, 0, why, why_size) < 0) {
            owngil_elf_clear(&self->shim);
            self->shim.handle = NULL;
            return NULL;
        }
        owngil_shim *shim = dlsym(self->shim.handle, "owngil_shim_data");
        *shim = (owngil_shim){
            .worker = worker,
            .ensure = owngil_gilstate_ensure,
            .release = owngil_gilstate_release,
            .check = owngil_gilstate_check,
            .lookup = lookup,
            .keep = keep,
            .add_exit = add_exit,
            .add_key = add_key,
            .remove_key = remove_key,
        };
    }
    return dlsym(self->shim.handle, "owngil_shim_data");
}

owngil_copy *
owngil_copies_reserve(owngil_copies *self, owngil_worker *worker, const char *path, const char *const *directories,
                      char *why, size_t why_size)
{
    if (load_shim(self, worker, directories, why, why_size) == NULL) {
        return NULL;
    }
    owngil_copy *copy = calloc(1, sizeof(*copy));
    if (copy == NULL) {
        snprintf(why, why_size, "%s", strerror(ENOMEM));
        return NULL;
    }
    if (owngil_elf_reserve(&copy->loaded, path, directories, why, why_size) < 0) {
        owngil_elf_clear(&copy->loaded);
        free(copy);
        return NULL;
    }
    pthread_mutex_lock(&self->lock);
    owngil_copy **end = &self->newest;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = copy;
    copy->group = ++self->groups;
    pthread_mutex_unlock(&self->lock);
    return copy;
}

/* Takes a copy out of the list. Needs the lock. */
static void
unlink_copy(owngil_copies *self, const owngil_copy *copy)
{
    owngil_copy **at = &self->newest;
    while (*at != copy) {
        at = &(*at)->next;
    }
    *at = copy->next;
}

int
owngil_copies_load(owngil_copies *self, owngil_copy *copy, char *why, size_t why_size)
{
    owngil_shim *shim = dlsym(self->shim.handle, "owngil_shim_data");
#define REDIRECTION(name) {#name, dlsym(self->shim.handle, "owngil_shim_" #name), NULL},
    owngil_redirection redirections[] = {
        {OWNGIL_START_THREAD, dlsym(self->shim.handle, "owngil_shim_start_thread"), NULL},
        OWNGIL_SHIM_FUNCTIONS(REDIRECTION)
    };
#undef REDIRECTION
    if (owngil_elf_load(&copy->loaded, redirections, sizeof(redirections) / sizeof(redirections[0]), why, why_size)
        < 0) {
        return -1;
    }
    if (redirections[0].from != NULL) {
        shim->start_thread = (owngil_start_thread)redirections[0].from;
    }
    pthread_mutex_lock(&self->lock);
    unlink_copy(self, copy);
    copy->next = self->newest;
    self->newest = copy;
    pthread_mutex_unlock(&self->lock);
    return 0;
}

void
owngil_copies_discard(owngil_copies *self, owngil_copy *copy)
{
    pthread_mutex_lock(&self->lock);
    unlink_copy(self, copy);
    pthread_mutex_unlock(&self->lock);
    owngil_elf_clear(&copy->loaded);
    free(copy);
}

void
owngil_copies_join(owngil_copies *self, owngil_copy *copy, const char *name)
{
    pthread_mutex_lock(&self->lock);
    for (owngil_copy *other = self->newest; other != NULL; other = other->next) {
        if (strcmp(other->loaded.name, name) == 0) {
            size_t joined = other->group;
            for (owngil_copy *member = self->newest; member != NULL; member = member->next) {
                member->group = member->group == joined ? copy->group : member->group;
            }
            break;
        }
    }
    pthread_mutex_unlock(&self->lock);
}

/* The copy that `address` belongs to, or NULL. Needs the lock. */
static owngil_copy *
copy_at(const owngil_copies *self, const void *address)
{
    owngil_copy *copy = self->newest;
    while (copy != NULL && ((uintptr_t)address < copy->loaded.start || (uintptr_t)address >= copy->loaded.end)) {
        copy = copy->next;
    }
    return copy;
}

void
owngil_copies_keep(owngil_copies *self, const void *address)
{
    pthread_mutex_lock(&self->lock);
    owngil_copy *copy = copy_at(self, address);
    if (copy != NULL) {
        copy->stays = true;
    }
    pthread_mutex_unlock(&self->lock);
}

int
owngil_copies_add_exit(owngil_copies *self, void (*function)(void))
{
    pthread_mutex_lock(&self->lock);
    void (**functions)(void) = realloc(self->at_exit, (self->at_exit_count + 1) * sizeof(*functions));
    if (functions != NULL) {
        self->at_exit = functions;
        self->at_exit[self->at_exit_count++] = function;
    }
    pthread_mutex_unlock(&self->lock);
    return functions != NULL ? 0 : -1;
}

void
owngil_copies_exit(owngil_copies *self)
{
    if (self->shim.handle != NULL) {
        ((owngil_shim *)dlsym(self->shim.handle, "owngil_shim_data"))->ended = true;
    }
    pthread_mutex_lock(&self->lock);
    while (self->at_exit_count > 0) {
        void (*function)(void) = self->at_exit[--self->at_exit_count];
        pthread_mutex_unlock(&self->lock);
        function();
        pthread_mutex_lock(&self->lock);
    }
    pthread_mutex_unlock(&self->lock);
}

void
owngil_copies_add_key(owngil_copies *self, pthread_key_t key, const void *destroy)
{
    pthread_mutex_lock(&self->lock);
    if (self->key_count == self->key_room) {
        size_t room = self->key_room > 0 ? 2 * self->key_room : 8;
        owngil_key *keys = realloc(self->keys, room * sizeof(*keys));
        if (keys != NULL) {
            self->keys = keys;
            self->key_room = room;
        }
    }
    if (self->key_count < self->key_room) { /* else it stays when the worker is gone: one of a thousand */
        self->keys[self->key_count++] = (owngil_key){.key = key, .destroy = destroy};
    }
    pthread_mutex_unlock(&self->lock);
}

void
owngil_copies_remove_key(owngil_copies *self, pthread_key_t key)
{
    pthread_mutex_lock(&self->lock);
    for (size_t k = 0; k < self->key_count; k++) {
        if (self->keys[k].key == key) {
            self->keys[k] = self->keys[--self->key_count];
            break;
        }
    }
    pthread_mutex_unlock(&self->lock);
}

static void
keep_signal_handlers(owngil_copies *self)
{
    for (int number = 1; number < NSIG; number++) {
        struct sigaction action;
        if (sigaction(number, NULL, &action) == 0) {
            owngil_copies_keep(self, (const void *)action.sa_handler);
        }
    }
}

/* Whether `address` belongs to a copy that will be unloaded. */
static bool
goes(const void *context, const void *address)
{
    const owngil_copy *copy = copy_at(context, address);
    return copy != NULL && !copy->stays;
}

void
owngil_copies_settle(owngil_copies *self)
{
    keep_signal_handlers(self);
    owngil_copies_keep(self, (const void *)PyOS_InputHook);
    bool uses_parsers = false;
    for (const owngil_copy *copy = self->newest; copy != NULL; copy = copy->next) {
        uses_parsers |= copy->loaded.uses_parsers;
    }
    bool forgotten = !uses_parsers || owngil_argparsers_forget(goes, self);
    for (owngil_copy *copy = self->newest; copy != NULL; copy = copy->next) {
        copy->stays |= copy->loaded.uses_parsers && !forgotten;
        for (owngil_copy *other = self->newest; copy->stays && other != NULL; other = other->next) {
            other->stays |= other->group == copy->group;
        }
    }
}

bool
owngil_copies_unload(owngil_copies *self)
{
    bool empty = true;
    if (self->shim.handle == NULL) {
        return empty;
    }
    /* The newest first, as the process does at exit. */
    owngil_gilstate_set_unloading(true);
    for (owngil_copy *copy = self->newest; copy != NULL; copy = copy->next) {
        if (!copy->stays && copy->loaded.handle != NULL) {
            owngil_elf_finish(&copy->loaded);
        }
    }
    owngil_gilstate_set_unloading(false);
    for (owngil_copy *copy = self->newest; copy != NULL; copy = copy->next) {
        empty &= !copy->stays;
    }
    /* The end of a thread, this one too, must not call what is unloaded. */
    for (size_t k = 0; k < self->key_count; k++) {
        const owngil_copy *copy = copy_at(self, self->keys[k].destroy);
        if (copy != NULL ? !copy->stays : empty) {
            pthread_key_delete(self->keys[k].key);
        }
    }
    for (owngil_copy *copy = self->newest, *next; copy != NULL; copy = next) {
        next = copy->next;
        if (!copy->stays) {
            owngil_elf_clear(&copy->loaded);
            free(copy);
        }
    }
    self->newest = NULL;
    if (empty) {
        owngil_elf_finish(&self->shim);
        owngil_elf_clear(&self->shim);
    }
    free(self->at_exit);
    self->at_exit = NULL;
    free(self->keys);
    self->keys = NULL;
    self->key_count = self->key_room = 0;
    return empty;
}

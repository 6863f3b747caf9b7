#include "copies.h"

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

static void
add_key(owngil_worker *worker, pthread_key_t key)
{
    owngil_copies_add_key(&worker->copies, key);
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
        owngil_load_request request = {.path = path, .directories = directories};
        if (owngil_elf_load(&self->shim, &request, NULL, 0, why, why_size) < 0) {
            return NULL;
        }
        owngil_shim *shim = dlsym(self->shim.handle, "owngil_shim_data");
        *shim = (owngil_shim){
            .worker = worker,
            .ensure = owngil_gilstate_ensure,
            .release = owngil_gilstate_release,
            .check = owngil_gilstate_check,
            .keep = keep,
            .add_key = add_key,
            .remove_key = remove_key,
        };
    }
    return dlsym(self->shim.handle, "owngil_shim_data");
}

/* Joins the group of the copy that is called `name`, if it is one, with that of `copy`. Needs the lock. */
static void
join_group(owngil_copies *self, owngil_copy *copy, const char *name)
{
    for (owngil_copy *other = self->newest; other != NULL; other = other->next) {
        if (strcmp(other->loaded.name, name) == 0) {
            size_t joined = other->group;
            for (owngil_copy *member = self->newest; member != NULL; member = member->next) {
                member->group = member->group == joined ? copy->group : member->group;
            }
            return;
        }
    }
}

owngil_copy *
owngil_copies_load(owngil_copies *self, owngil_worker *worker, const owngil_load_request *request, char *why,
                   size_t why_size)
{
    owngil_shim *shim = load_shim(self, worker, request->directories, why, why_size);
    owngil_copy *copy = calloc(1, sizeof(*copy));
    if (shim == NULL || copy == NULL) {
        if (shim != NULL) {
            snprintf(why, why_size, "%s", strerror(ENOMEM));
        }
        free(copy);
        return NULL;
    }
#define REDIRECTION(name) {#name, dlsym(self->shim.handle, "owngil_shim_" #name), NULL},
    owngil_redirection redirections[] = {
        {OWNGIL_START_THREAD, dlsym(self->shim.handle, "owngil_shim_start_thread"), NULL},
        OWNGIL_SHIM_FUNCTIONS(REDIRECTION)
    };
#undef REDIRECTION
    if (owngil_elf_load(&copy->loaded, request, redirections, sizeof(redirections) / sizeof(redirections[0]), why,
                        why_size) < 0) {
        free(copy);
        return NULL;
    }
    if (redirections[0].from != NULL) {
        shim->start_thread = (owngil_start_thread)redirections[0].from;
    }
    pthread_mutex_lock(&self->lock);
    copy->next = self->newest;
    copy->group = ++self->groups;
    self->newest = copy;
    for (size_t k = 0; k < request->rename_count; k++) {
        join_group(self, copy, request->renames[k].to);
    }
    pthread_mutex_unlock(&self->lock);
    return copy;
}

void
owngil_copies_keep(owngil_copies *self, const void *address)
{
    pthread_mutex_lock(&self->lock);
    for (owngil_copy *copy = self->newest; copy != NULL; copy = copy->next) {
        if ((uintptr_t)address >= copy->loaded.start && (uintptr_t)address < copy->loaded.end) {
            copy->stays = true;
        }
    }
    pthread_mutex_unlock(&self->lock);
}

void
owngil_copies_add_key(owngil_copies *self, pthread_key_t key)
{
    pthread_mutex_lock(&self->lock);
    if (self->key_count == self->key_room) {
        size_t room = self->key_room > 0 ? 2 * self->key_room : 8;
        pthread_key_t *keys = realloc(self->keys, room * sizeof(*keys));
        if (keys != NULL) {
            self->keys = keys;
            self->key_room = room;
        }
    }
    if (self->key_count < self->key_room) { /* else it stays when the worker is gone: one of a thousand */
        self->keys[self->key_count++] = key;
    }
    pthread_mutex_unlock(&self->lock);
}

void
owngil_copies_remove_key(owngil_copies *self, pthread_key_t key)
{
    pthread_mutex_lock(&self->lock);
    for (size_t k = 0; k < self->key_count; k++) {
        if (self->keys[k] == key) {
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

bool
owngil_copies_unload(owngil_copies *self)
{
    bool empty = true;
    if (self->shim.handle == NULL) {
        return empty;
    }
    owngil_shim *shim = dlsym(self->shim.handle, "owngil_shim_data");
    shim->ended = true;
    keep_signal_handlers(self);
    owngil_copies_keep(self, (const void *)PyOS_InputHook);

    for (owngil_copy *copy = self->newest; copy != NULL; copy = copy->next) {
        for (owngil_copy *other = self->newest; copy->stays && other != NULL; other = other->next) {
            other->stays |= other->group == copy->group;
        }
    }
    /* The newest first, as the dynamic loader does at exit. */
    owngil_gilstate_set_unloading(true);
    for (owngil_copy *copy = self->newest; copy != NULL; copy = copy->next) {
        if (!copy->stays) {
            owngil_elf_finish(&copy->loaded);
        }
    }
    for (owngil_copy *copy = self->newest, *next; copy != NULL; copy = next) {
        next = copy->next;
        if (copy->stays) {
            empty = false;
        }
        else {
            owngil_elf_unload(&copy->loaded);
            free(copy);
        }
    }
    self->newest = NULL;
    owngil_gilstate_set_unloading(false);
    /* Destructors may have deleted theirs, and told so. What a copy that stays has made, stays with it. */
    for (size_t k = 0; empty && k < self->key_count; k++) {
        pthread_key_delete(self->keys[k]);
    }
    if (empty) {
        owngil_elf_finish(&self->shim);
        owngil_elf_unload(&self->shim);
    }
    free(self->keys);
    self->keys = NULL;
    self->key_count = self->key_room = 0;
    return empty;
}

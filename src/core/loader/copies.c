#include "loader/copies.h"

#include "base/compat.h"

#include <argp.h>
#include <dlfcn.h>
#include <errno.h>
#include <error.h>
#include <limits.h>
#include <obstack.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void
owngil_copies_init(owngil_copies *self, owngil_refcounted *owner, const owngil_guest_functions *guests)
{
    *self = (owngil_copies){.owner = owner, .guests = guests};
    pthread_mutex_init(&self->lock, NULL);
    owngil_threads_init(&self->threads);
}

void
owngil_copies_clear(owngil_copies *self)
{
    owngil_threads_clear(&self->threads);
    pthread_mutex_destroy(&self->lock);
}

/* Returns the copy that `address` belongs to, or NULL. Needs the lock. */
static owngil_copy *
copy_at(const owngil_copies *self, const void *address)
{
    owngil_copy *copy = self->newest;
    while (copy != NULL && ((uintptr_t)address < copy->loaded.start || (uintptr_t)address >= copy->loaded.end)) {
        copy = copy->next;
    }
    return copy;
}

/* Pins the copy that `address` belongs to, and returns the path of its original; NULL: it belongs to none. Needs no
 * GIL. */
static const char *
pin(owngil_copies *self, const void *address)
{
    pthread_mutex_lock(&self->lock);
    owngil_copy *copy = copy_at(self, address);
    if (copy != NULL) {
        copy->pinned = true;
    }
    pthread_mutex_unlock(&self->lock);
    return copy != NULL ? copy->loaded.path : NULL;
}

/* Records a function that a copy passed to Py_AtExit(). Returns 0, or -1 without memory. */
static int
add_exit(owngil_copies *self, void (*function)(void))
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

/* Records a key that a copy made. Without memory the key is lost, one of about a thousand. */
static void
add_key(owngil_copies *self, pthread_key_t key, const void *destroy)
{
    pthread_mutex_lock(&self->lock);
    owngil_key *keys = realloc(self->keys, (self->key_count + 1) * sizeof(*keys));
    if (keys != NULL) {
        self->keys = keys;
        self->keys[self->key_count++] = (owngil_key){.key = key, .destroy = destroy};
    }
    pthread_mutex_unlock(&self->lock);
}

static void
remove_key(owngil_copies *self, pthread_key_t key)
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

/* Returns the address of the shim's symbol that consists of these two parts. */
static void *
find_in_shim(const owngil_copies *self, const char *prefix, const char *name)
{
    char symbol[96];
    snprintf(symbol, sizeof(symbol), "%s%s", prefix, name);
    return dlsym(self->shim.handle, symbol);
}

/* Returns the shim's function that copies call instead of the one called `name`, which a copy looks up in `handle`; or
 * NULL. */
static void *
lookup(owngil_copies *self, void *handle, const char *name)
{
#define NAME(name, ...) #name,
    static const char *const names[] = {OWNGIL_SHIM_FUNCTIONS(NAME) OWNGIL_PINNING_FUNCTIONS(NAME)};
    static const char *const runtime_names[] = {OWNGIL_PINNING_RUNTIME_FUNCTIONS(NAME)};
#undef NAME
    for (size_t k = 0; name != NULL && k < sizeof(names) / sizeof(names[0]); k++) {
        if (strcmp(name, names[k]) == 0) {
            return find_in_shim(self, "owngil_shim_", name);
        }
    }
    for (size_t k = 0; name != NULL && k < sizeof(runtime_names) / sizeof(runtime_names[0]); k++) {
        if (strcmp(name, runtime_names[k]) == 0) {
            void **found = find_in_shim(self, "owngil_found_", name);
            *found = *found != NULL ? *found : dlsym(handle, name);
            return *found != NULL ? find_in_shim(self, "owngil_shim_", name) : NULL;
        }
    }
    return NULL;
}

/* Finds the path of the shim, which is beside this module. Returns whether it fits. */
static bool
find_shim(char *path, size_t size)
{
    Dl_info here;
    bool found = dladdr((const void *)find_shim, &here) != 0 && here.dli_fname != NULL;
    const char *slash = found ? strrchr(here.dli_fname, '/') : NULL;
    return slash != NULL
           && snprintf(path, size, "%.*s/" OWNGIL_SHIM_FILE, (int)(slash - here.dli_fname), here.dli_fname) < (int)size;
}

/* Returns what the core and the shim share. The shim must be loaded. */
static owngil_shim *
shim_of(const owngil_copies *self)
{
    return dlsym(self->shim.handle, "owngil_shim_data");
}

/* Loads the worker's copy of the shim, unless it is loaded. Returns 0, or -1 with `why` filled in. */
static int
load_shim(owngil_copies *self, const char *const *directories, char *why, size_t why_size)
{
    if (self->shim.handle != NULL) {
        return 0;
    }
    char path[PATH_MAX];
    if (!find_shim(path, sizeof(path))) {
        snprintf(why, why_size, "the folder of owngil cannot be found");
        return -1;
    }
    void *view = NULL;
#if OWNGIL_HAVE_INTERPRETER_GUARDS
    view = PyInterpreterView_FromCurrent();
    if (view == NULL) {
        PyErr_Clear();
        snprintf(why, why_size, "%s", strerror(ENOMEM));
        return -1;
    }
#endif
    if (owngil_load_reserve(&self->shim, path, directories, why, why_size) < 0
        || owngil_load_write(&self->shim, NULL, 0, why, why_size) < 0
        || owngil_load_open(&self->shim, NULL, 0, why, why_size) < 0) {
        owngil_load_clear(&self->shim);
#if OWNGIL_HAVE_INTERPRETER_GUARDS
        PyInterpreterView_Close(view);
#endif
        return -1;
    }
    owngil_load_start(&self->shim);
    *shim_of(self) = (owngil_shim){
        .view = view,
        .copies = self,
        .threads = &self->threads,
        .owner = self->owner,
        .guests = self->guests,
        .lookup = lookup,
        .pin = pin,
        .add_exit = add_exit,
        .add_key = add_key,
        .remove_key = remove_key,
        .new_thread = owngil_threads_new,
        .drop_thread = owngil_threads_drop,
        .run_thread = owngil_threads_run,
        .run_c11_thread = owngil_threads_run_c11,
        .run_python_thread = owngil_threads_run_python,
        .add_thread = owngil_threads_add,
        .add_timer = owngil_threads_add_timer,
    };
    return 0;
}

static void
free_copy(owngil_copy *copy)
{
    owngil_load_clear(&copy->loaded);
    free(copy);
}

owngil_copy *
owngil_copies_reserve(owngil_copies *self, const char *path, const char *const *directories, char *why, size_t why_size)
{
    if (load_shim(self, directories, why, why_size) < 0) {
        return NULL;
    }
    owngil_copy *copy = calloc(1, sizeof(*copy));
    if (copy == NULL) {
        snprintf(why, why_size, "%s", strerror(ENOMEM));
        return NULL;
    }
    if (owngil_load_reserve(&copy->loaded, path, directories, why, why_size) < 0) {
        free_copy(copy);
        return NULL;
    }
    pthread_mutex_lock(&self->lock);
    copy->next = self->newest;
    self->newest = copy;
    copy->group = ++self->groups;
    pthread_mutex_unlock(&self->lock);
    return copy;
}

owngil_copy *
owngil_copies_find(owngil_copies *self, uintptr_t address)
{
    pthread_mutex_lock(&self->lock);
    owngil_copy *copy = self->newest;
    while (copy != NULL && (uintptr_t)copy != address) {
        copy = copy->next;
    }
    pthread_mutex_unlock(&self->lock);
    return copy;
}

/* Removes a copy from the list. Needs the lock. */
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
owngil_copies_load(owngil_copies *self, owngil_copy *const *copies, size_t count, char *why, size_t why_size)
{
#define REDIRECTION(name, ...) {#name, find_in_shim(self, "owngil_shim_", #name), NULL},
#define RUNTIME_REDIRECTION(name, ...) \
    {#name, find_in_shim(self, "owngil_shim_", #name), find_in_shim(self, "owngil_found_", #name)},
    /* Constructors may start threads: so the original is there before they run. */
    void **start_thread = (void **)&shim_of(self)->start_thread;
    const owngil_redirection redirections[] = {
        {OWNGIL_START_THREAD, dlsym(self->shim.handle, "owngil_shim_start_thread"), start_thread},
        OWNGIL_SHIM_FUNCTIONS(REDIRECTION) OWNGIL_PINNING_FUNCTIONS(REDIRECTION)
            OWNGIL_PINNING_RUNTIME_FUNCTIONS(RUNTIME_REDIRECTION)};
#undef REDIRECTION
#undef RUNTIME_REDIRECTION
    for (size_t k = 0; k < count; k++) {
        if (owngil_load_open(&copies[k]->loaded, redirections, sizeof(redirections) / sizeof(redirections[0]), why,
                             why_size)
            < 0) {
            while (k-- > 0) {
                owngil_load_cancel(&copies[k]->loaded);
            }
            return -1;
        }
    }
    for (size_t k = 0; k < count; k++) {
        owngil_load_start(&copies[k]->loaded);
        pthread_mutex_lock(&self->lock);
        unlink_copy(self, copies[k]);
        copies[k]->next = self->newest;
        self->newest = copies[k];
        pthread_mutex_unlock(&self->lock);
    }
    return 0;
}

void
owngil_copies_discard(owngil_copies *self, owngil_copy *copy)
{
    if (copy->loaded.handle != NULL) {
        return; /* its constructors have run: it stays until the worker ends */
    }
    pthread_mutex_lock(&self->lock);
    unlink_copy(self, copy);
    pthread_mutex_unlock(&self->lock);
    free_copy(copy);
}

void
owngil_copies_group(owngil_copies *self, owngil_copy *copy, const char *name)
{
    pthread_mutex_lock(&self->lock);
    const owngil_copy *other = self->newest;
    while (other != NULL && strcmp(other->loaded.name, name) != 0) {
        other = other->next;
    }
    size_t joined = other != NULL ? other->group : copy->group;
    for (owngil_copy *member = self->newest; member != NULL; member = member->next) {
        member->group = member->group == joined ? copy->group : member->group;
    }
    pthread_mutex_unlock(&self->lock);
}

void
owngil_copies_exit(owngil_copies *self)
{
    if (self->shim.handle != NULL) {
        shim_of(self)->ended = true;
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
owngil_copies_end_thread(owngil_copies *self)
{
    /* A destructor may set the value of another key: repeat as often as the C library does at the end of a thread. */
    bool again = true;
    for (int round = 0; again && round < PTHREAD_DESTRUCTOR_ITERATIONS; round++) {
        again = false;
        pthread_mutex_lock(&self->lock);
        for (size_t k = 0; k < self->key_count; k++) {
            owngil_key key = self->keys[k];
            void *value = pthread_getspecific(key.key);
            if (key.destroy != NULL && value != NULL) {
                pthread_setspecific(key.key, NULL);
                pthread_mutex_unlock(&self->lock);
                ((void (*)(void *))key.destroy)(value);
                again = true;
                pthread_mutex_lock(&self->lock);
            }
        }
        pthread_mutex_unlock(&self->lock);
    }
}

/* Pins the groups of the copies that are pinned. Needs the lock. */
static void
pin_groups(owngil_copies *self)
{
    for (const owngil_copy *copy = self->newest; copy != NULL; copy = copy->next) {
        for (owngil_copy *other = self->newest; copy->pinned && other != NULL; other = other->next) {
            other->pinned |= other->group == copy->group;
        }
    }
}

/* Decides which copies end. Only the thread that joins the worker decides, and reads what it decided without the lock;
 * threads of pinned copies may pin more copies at the same time. */
static void
decide(owngil_copies *self)
{
    pthread_mutex_lock(&self->lock);
    pin_groups(self);
    for (owngil_copy *copy = self->newest; copy != NULL; copy = copy->next) {
        copy->ends = !copy->pinned;
    }
    pthread_mutex_unlock(&self->lock);
}

/* Whether `address` belongs to a copy that ends. Needs no lock: the list changes no more before the copies are unloaded,
 * by this thread. */
static bool
is_unloadable(const void *context, const void *address)
{
    const owngil_copy *copy = copy_at(context, address);
    return copy != NULL && copy->ends;
}

void
owngil_copies_decide(owngil_copies *self,
                     bool (*forget)(bool (*is_unloadable)(const void *context, const void *address),
                                    const void *context))
{
    for (int number = 1; number < NSIG; number++) {
        struct sigaction action;
        if (sigaction(number, NULL, &action) == 0) {
            pin(self, (const void *)action.sa_handler);
        }
    }
    const void *const variables[] = {
        PyOS_InputHook,
        PyOS_ReadlineFunctionPointer,
        PyImport_FrozenModules,
        PyImport_Inittab,
        argp_program_bug_address,
        argp_program_version,
        argp_program_version_hook,
        error_print_progname,
        obstack_alloc_failed_handler,
        program_invocation_name,
        program_invocation_short_name,
        environ,
    };
    for (size_t k = 0; k < sizeof(variables) / sizeof(variables[0]); k++) {
        pin(self, variables[k]);
    }
    decide(self);
    bool uses_parsers = false;
    for (const owngil_copy *copy = self->newest; copy != NULL; copy = copy->next) {
        uses_parsers |= copy->loaded.uses_parsers;
    }
    if (uses_parsers && !forget(is_unloadable, self)) { /* CPython keeps pointers into these copies */
        pthread_mutex_lock(&self->lock);
        for (owngil_copy *copy = self->newest; copy != NULL; copy = copy->next) {
            copy->pinned |= copy->loaded.uses_parsers;
        }
        pthread_mutex_unlock(&self->lock);
        decide(self);
    }
}

bool
owngil_copies_unload(owngil_copies *self)
{
    if (self->shim.handle == NULL) {
        return true;
    }
    /* The newest first, as at the exit of a process. */
    self->guests->set_unloading(true);
    for (owngil_copy *copy = self->newest; copy != NULL; copy = copy->next) {
        if (copy->ends && copy->loaded.handle != NULL) {
            owngil_load_finish(&copy->loaded);
        }
    }
    self->guests->set_unloading(false);
    /* A destructor, or a thread of a pinned copy, may have pinned more copies. They stay loaded, though their
     * destructors have run: as when a process exits while threads run. */
    pthread_mutex_lock(&self->lock);
    pin_groups(self);
    bool empty = true;
    for (const owngil_copy *copy = self->newest; copy != NULL; copy = copy->next) {
        empty &= !copy->pinned;
    }
    /* Delete keys with destructors in unloaded copies: the end of each thread, this one too, would call these. Delete
     * all others if no copy is pinned. Threads of pinned copies may add and remove keys at the same time. */
    for (size_t k = 0; k < self->key_count; k++) {
        const owngil_copy *copy = copy_at(self, self->keys[k].destroy);
        if (copy != NULL ? !copy->pinned : empty) {
            pthread_key_delete(self->keys[k].key);
        }
    }
    owngil_copy *newest = self->newest;
    self->newest = NULL;
    free(self->at_exit);
    self->at_exit = NULL;
    free(self->keys);
    self->keys = NULL;
    self->key_count = 0;
    pthread_mutex_unlock(&self->lock);
    for (owngil_copy *copy = newest, *next; copy != NULL; copy = next) {
        next = copy->next;
        if (!copy->pinned) {
            free_copy(copy);
        }
    }
    if (empty) {
#if OWNGIL_HAVE_INTERPRETER_GUARDS
        PyInterpreterView_Close(shim_of(self)->view);
#endif
        owngil_load_finish(&self->shim);
        owngil_load_clear(&self->shim);
    }
    return empty;
}

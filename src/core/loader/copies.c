#include "loader/copies.h"

#include "cpython/keyword_parsers.h"
#include "workers/guests.h"
#include "workers/worker.h"
#include "loader/shim/shim.h"

#include <dlfcn.h>
#include <limits.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

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

/* Remembers a thread that is not joined or detached yet. Its number is in the number of its clock: see clock_getres(2). */
static void
add_thread(owngil_worker *worker, pthread_t thread)
{
    clockid_t clock;
    if (pthread_getcpuclockid(thread, &clock) == 0) { /* else it has ended */
        owngil_copies_add_thread(&worker->copies, (pid_t)~(clock >> 3));
    }
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
            .new_thread = owngil_copies_new_thread,
            .drop_thread = owngil_copies_drop_thread,
            .run_thread = owngil_copies_run_thread,
            .run_c11_thread = owngil_copies_run_c11_thread,
            .run_python_thread = owngil_copies_run_python_thread,
            .add_thread = add_thread,
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
    if (copy->loaded.handle != NULL) {
        return; /* its constructors have run: it goes with the worker */
    }
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

void
owngil_copies_end_thread(owngil_copies *self)
{
    /* A destructor may give another key a value: as often as at the end of a thread. */
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

owngil_thread *
owngil_copies_new_thread(owngil_thread thread)
{
    owngil_thread *result = malloc(sizeof(*result));
    if (result != NULL) {
        *result = thread;
        owngil_shared_acquire(&thread.worker->base);
    }
    return result;
}

void
owngil_copies_drop_thread(owngil_thread *self)
{
    owngil_shared_release(&self->worker->base);
    free(self);
}

static owngil_thread
begin_thread(owngil_thread *self)
{
    owngil_thread thread = *self;
    owngil_copies_add_thread(&thread.worker->copies, (pid_t)syscall(SYS_gettid));
    owngil_copies_drop_thread(self);
    return thread;
}

void *
owngil_copies_run_thread(void *self)
{
    owngil_thread thread = begin_thread(self);
    return thread.start(thread.argument);
}

int
owngil_copies_run_c11_thread(void *self)
{
    owngil_thread thread = begin_thread(self);
    return thread.start_c11(thread.argument);
}

void
owngil_copies_run_python_thread(void *self)
{
    owngil_thread thread = begin_thread(self);
    thread.start_python(thread.argument);
}

/* What a thread of this process is doing. */
enum activity { GONE, SLEEPS, WORKS };

static enum activity
activity_of(pid_t thread)
{
    char path[64], text[32] = "";
    snprintf(path, sizeof(path), "/proc/self/task/%ld/syscall", (long)thread);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    enum activity result = WORKS;
    if (fd < 0 ? errno == ENOENT : length < 0 && errno == ESRCH) {
        result = GONE;
    }
    else if (length > 0 && text[0] >= '0' && text[0] <= '9') { /* else "running" */
        result = strtol(text, NULL, 10) == SYS_futex ? SLEEPS : WORKS;
    }
    if (fd >= 0) {
        close(fd);
    }
    return result;
}

void
owngil_copies_add_thread(owngil_copies *self, pid_t thread)
{
    pthread_mutex_lock(&self->lock);
    if (self->thread_count == self->thread_room) {
        size_t left = 0;
        for (size_t k = 0; k < self->thread_count; k++) {
            if (activity_of(self->threads[k]) != GONE) {
                self->threads[left++] = self->threads[k];
            }
        }
        self->thread_count = left;
        size_t room = left < self->thread_room / 2 ? self->thread_room : 2 * self->thread_room + 8;
        pid_t *threads = realloc(self->threads, room * sizeof(*threads));
        if (threads != NULL) {
            self->threads = threads;
            self->thread_room = room;
        }
    }
    if (self->thread_count < self->thread_room) {
        self->threads[self->thread_count++] = thread;
    }
    else {
        self->lost_threads = true;
    }
    pthread_mutex_unlock(&self->lock);
}

bool
owngil_copies_are_idle(owngil_copies *self)
{
    pthread_mutex_lock(&self->lock);
    bool idle = !self->lost_threads;
    for (size_t k = 0; idle && k < self->thread_count; k++) {
        idle = activity_of(self->threads[k]) != WORKS;
    }
    pthread_mutex_unlock(&self->lock);
    return idle;
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
    /* The end of a thread, this one too, must not call what is unloaded. Threads of copies that stay may come in here. */
    pthread_mutex_lock(&self->lock);
    for (size_t k = 0; k < self->key_count; k++) {
        const owngil_copy *copy = copy_at(self, self->keys[k].destroy);
        if (copy != NULL ? !copy->stays : empty) {
            pthread_key_delete(self->keys[k].key);
        }
    }
    owngil_copy *newest = self->newest;
    self->newest = NULL;
    free(self->at_exit);
    self->at_exit = NULL;
    free(self->keys);
    self->keys = NULL;
    self->key_count = self->key_room = 0;
    pthread_mutex_unlock(&self->lock);
    for (owngil_copy *copy = newest, *next; copy != NULL; copy = next) {
        next = copy->next;
        if (!copy->stays) {
            owngil_elf_clear(&copy->loaded);
            free(copy);
        }
    }
    if (empty) {
        owngil_elf_finish(&self->shim);
        owngil_elf_clear(&self->shim);
    }
    return empty;
}

#include "workers/worker.h"

#include "base/ids.h"
#include "memory/block.h"

#include <stdlib.h>
#include <string.h>

static _Thread_local owngil_worker *current;

static void
worker_free(owngil_refcounted *base)
{
    owngil_worker *self = (owngil_worker *)base;
    /* A forked child has neither the worker's thread nor the threads that waited for `changed`. For both, glibc would
     * wait for ever: in pthread_detach() for a thread that was about to end, and in pthread_cond_destroy() for the
     * waiters. */
    bool inherited = owngil_refcount_is_inherited(base);
    if (!inherited && !atomic_load(&self->joined)) {
        pthread_detach(self->thread);
    }
    owngil_refcount_release(&self->setup->base);
    if (self->request != NULL) {
        owngil_refcount_release(&self->request->base);
    }
    for (size_t k = 0; k < 2; k++) {
        if (self->spares[k] != NULL) {
            owngil_refcount_release(&self->spares[k]->base);
        }
    }
    owngil_refcount_release(&self->tasks->base);
    owngil_refcount_release(&self->replies->base);
    owngil_parking_clear(&self->parking);
    if (!inherited) {
        pthread_cond_destroy(&self->changed);
    }
    pthread_mutex_destroy(&self->lock);
    owngil_copies_clear(&self->copies);
    free(self->name);
    free(self->bootstrap);
    free(self);
}

owngil_worker *
owngil_worker_new(const char *name, uint64_t number, const char *bootstrap, owngil_message *setup, owngil_queue *tasks,
                  owngil_queue *replies, const owngil_guest_functions *guests)
{
    owngil_worker *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        return NULL;
    }
    owngil_refcount_init(&self->base, OWNGIL_KIND_WORKER, worker_free);
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->changed, NULL);
    owngil_parking_init(&self->parking);
    owngil_copies_init(&self->copies, &self->base, guests);
    atomic_init(&self->interpreter_id, -1);
    atomic_init(&self->joined, true); /* there is no thread yet */
    self->number = number;
    self->owner = owngil_ids_next();
    self->setup = setup;
    owngil_refcount_acquire(&setup->base);
    self->tasks = tasks;
    owngil_refcount_acquire(&tasks->base);
    self->replies = replies;
    owngil_refcount_acquire(&replies->base);
    self->name = strdup(name);
    self->bootstrap = strdup(bootstrap);
    self->activity.name = self->name;
    self->activity.number = number;
    self->activity.queue = tasks->number;
    owngil_counters_init(&self->activity.counters);
    self->spares[0] = owngil_message_new(OWNGIL_MESSAGE_FAILED, number, 0);
    self->spares[1] = owngil_message_new(OWNGIL_MESSAGE_EXITED, number, 0);
    if (self->name == NULL || self->bootstrap == NULL || self->spares[0] == NULL || self->spares[1] == NULL) {
        owngil_refcount_release(&self->base);
        return NULL;
    }
    return self;
}

owngil_worker *
owngil_worker_current(void)
{
    return current;
}

void
owngil_worker_adopt(owngil_worker *self)
{
    current = self;
    owngil_events_adopt(self != NULL ? &self->activity : NULL);
}

PyInterpreterState *
owngil_worker_hold(owngil_worker *self)
{
    pthread_mutex_lock(&self->lock);
    PyInterpreterState *interp = self->interp;
    self->holders += interp != NULL;
    pthread_mutex_unlock(&self->lock);
    return interp;
}

void
owngil_worker_release(owngil_worker *self)
{
    pthread_mutex_lock(&self->lock);
    self->holders--;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

void
owngil_worker_refuse_holders(owngil_worker *self)
{
    Py_BEGIN_ALLOW_THREADS
    pthread_mutex_lock(&self->lock);
    self->interp = NULL;
    while (self->holders > 0) {
        pthread_cond_wait(&self->changed, &self->lock);
    }
    pthread_mutex_unlock(&self->lock);
    Py_END_ALLOW_THREADS
}

void
owngil_worker_add_guest(owngil_worker *self, owngil_guest *guest)
{
    pthread_mutex_lock(&self->lock);
    guest->next = self->guests;
    self->guests = guest;
    pthread_mutex_unlock(&self->lock);
}

void
owngil_worker_remove_guest(owngil_worker *self, const owngil_guest *guest)
{
    pthread_mutex_lock(&self->lock);
    owngil_guest **at = &self->guests;
    while (*at != guest) {
        at = &(*at)->next;
    }
    *at = guest->next;
    pthread_mutex_unlock(&self->lock);
}

bool
owngil_worker_has_guest(owngil_worker *self, const PyThreadState *tstate)
{
    pthread_mutex_lock(&self->lock);
    const owngil_guest *at = self->guests;
    while (at != NULL && at->tstate != tstate) {
        at = at->next;
    }
    pthread_mutex_unlock(&self->lock);
    return at != NULL;
}

/* Returns the message that is kept for a report of this kind, or NULL. */
static owngil_message *
take_spare(owngil_worker *self, owngil_message_kind kind)
{
    if (kind != OWNGIL_MESSAGE_FAILED && kind != OWNGIL_MESSAGE_EXITED && kind != OWNGIL_MESSAGE_KEPT) {
        return NULL;
    }
    owngil_message **spare = &self->spares[kind == OWNGIL_MESSAGE_FAILED ? 0 : 1];
    owngil_message *message = *spare;
    *spare = NULL;
    if (message != NULL) {
        message->kind = (int)kind;
    }
    return message;
}

void
owngil_worker_report(owngil_worker *self, owngil_message_kind kind, const char *text)
{
    owngil_message *message = owngil_message_new((int)kind, self->number, text != NULL ? 1 : 0);
    if (message == NULL) {
        message = take_spare(self, kind);
        text = NULL;
    }
    if (message == NULL) {
        return;
    }
    owngil_block *block = text != NULL ? owngil_block_new(strlen(text)) : NULL;
    if (block == NULL && (kind == OWNGIL_MESSAGE_STUCK || kind == OWNGIL_MESSAGE_STUCK_START)) {
        owngil_refcount_release(&message->base); /* without its part it would say something else */
        return;
    }
    message->count = block != NULL ? 1 : 0;
    if (block != NULL) {
        memcpy(block->data, text, block->size);
        message->parts[0] = &block->base;
    }
    (void)owngil_queue_put(self->replies, message, OWNGIL_DEADLINE_NOW); /* it is unbounded */
    owngil_refcount_release(&message->base);
}

PyObject *
owngil_worker_join_lines(PyObject *lines)
{
    PyObject *empty = PyUnicode_FromString("");
    PyObject *text = empty != NULL ? PyUnicode_Join(empty, lines) : NULL;
    PyObject *bytes = text != NULL ? PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace") : NULL;
    Py_XDECREF(text);
    Py_XDECREF(empty);
    return bytes;
}

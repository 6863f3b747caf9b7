#include "workers/worker.h"

#include "cpython/arena_tracking.h"
#include "cpython/keyword_parsers.h"
#include "memory/block.h"
#include "tracing/events.h"
#include "base/process_notes.h"
#include "workers/interrupts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Thread_local owngil_worker *current;

/* The workers that have an interpreter, for threads that are not the workers' own. */
static pthread_mutex_t living_lock = PTHREAD_MUTEX_INITIALIZER; /* a leaf */
static owngil_worker *living;

static void
worker_free(owngil_shared *base)
{
    owngil_worker *self = (owngil_worker *)base;
    /* A forked child has no thread to detach, and none of those that waited. glibc would wait for both for ever: for a
     * thread that was about to end, and for a condition's waiters. */
    bool foreign = owngil_shared_is_foreign(base);
    if (!foreign && !atomic_load(&self->joined)) {
        pthread_detach(self->thread);
    }
    if (self->setup != NULL) {
        owngil_shared_release(&self->setup->base);
    }
    if (self->request != NULL) {
        owngil_shared_release(&self->request->base);
    }
    owngil_shared_release(&self->tasks->base);
    owngil_shared_release(&self->replies->base);
    owngil_parking_clear(&self->parking);
    if (!foreign) {
        pthread_cond_destroy(&self->changed);
    }
    pthread_mutex_destroy(&self->lock);
    pthread_mutex_destroy(&self->copies.lock);
    free(self->name);
    free(self->bootstrap);
    free(self);
}

/* Reports to whoever started the worker. `text` may be NULL. A report that finds no memory is lost. Needs no GIL. */
static void
report(owngil_worker *self, int kind, const char *text)
{
    owngil_message *message = owngil_message_new(kind, self->number, text != NULL ? 1 : 0);
    if (message == NULL) {
        return;
    }
    if (text != NULL) {
        size_t size = strlen(text);
        owngil_block *block = owngil_block_new(size);
        if (block != NULL) {
            memcpy(block->data, text, size);
            message->parts[0] = &block->base;
        }
        else {
            message->count = 0;
        }
    }
    (void)owngil_queue_put(self->replies, message, &owngil_deadline_never);
    owngil_shared_release(&message->base);
}

/* Reports the exception that is set, with its traceback, and clears it. Needs the GIL.
 *
 * Of a worker that was stopped, without: nobody asks, and what `traceback` imports evaluates strings, by which the process
 * forgets that a KeyboardInterrupt is ending it. */
static void
report_exception(owngil_worker *self)
{
    PyObject *exception = PyErr_GetRaisedException();
    PyObject *module = !atomic_load(&self->stopped) ? PyImport_ImportModule("traceback") : NULL;
    PyObject *lines = module != NULL ? PyObject_CallMethod(module, "format_exception", "O", exception) : NULL;
    PyObject *empty = lines != NULL ? PyUnicode_FromString("") : NULL;
    PyObject *text = empty != NULL ? PyUnicode_Join(empty, lines) : NULL;
    if (text == NULL) {
        PyErr_Clear();
        text = PyObject_Repr(exception);
    }
    PyObject *bytes = text != NULL ? PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace") : NULL;
    report(self, OWNGIL_REPLY_FAILED, bytes != NULL ? PyBytes_AS_STRING(bytes) : "an error that has no text");
    PyErr_Clear();
    Py_XDECREF(bytes);
    Py_XDECREF(text);
    Py_XDECREF(empty);
    Py_XDECREF(lines);
    Py_XDECREF(module);
    Py_XDECREF(exception);
}

/* Runs the bootstrap source in a namespace of its own. Returns 0, or -1 when it failed, which is then reported. Needs
 * the GIL. */
static int
run_bootstrap(owngil_worker *self)
{
    PyObject *globals = PyDict_New();
    PyObject *result = NULL;
    if (globals != NULL && PyDict_SetItemString(globals, "__builtins__", PyEval_GetBuiltins()) == 0) {
        PyObject *code = Py_CompileString(self->bootstrap, "<string>", Py_file_input);
        /* Not PyRun_String(), which notes for the whole process whether it ended by a KeyboardInterrupt: its exit code. */
        result = code != NULL ? PyEval_EvalCode(code, globals, globals) : NULL;
        Py_XDECREF(code);
    }
    int failed = result == NULL;
    if (failed) {
        report_exception(self);
    }
    Py_XDECREF(result);
    Py_XDECREF(globals);
    return failed ? -1 : 0;
}

static void
add_to_living(owngil_worker *self)
{
    pthread_mutex_lock(&living_lock);
    self->next = living;
    living = self;
    pthread_mutex_unlock(&living_lock);
}

static void
remove_from_living(owngil_worker *self)
{
    pthread_mutex_lock(&living_lock);
    for (owngil_worker **at = &living; *at != NULL; at = &(*at)->next) {
        if (*at == self) {
            *at = self->next;
            break;
        }
    }
    pthread_mutex_unlock(&living_lock);
}

owngil_worker *
owngil_interp_of_thread(void)
{
    PyThreadState *tstate = owngil_compat_current_tstate();
    PyInterpreterState *interp = tstate != NULL ? PyThreadState_GetInterpreter(tstate) : NULL;
    if (current != NULL) { /* a worker's own thread may be visiting another interpreter */
        PyInterpreterState *own = atomic_load(&current->own_interp);
        if (interp == NULL || own == NULL || interp == own) {
            return current;
        }
    }
    if (interp == NULL) {
        return NULL;
    }
    pthread_mutex_lock(&living_lock);
    owngil_worker *at = living;
    while (at != NULL && atomic_load(&at->own_interp) != interp) {
        at = at->next;
    }
    pthread_mutex_unlock(&living_lock);
    return at;
}

void
owngil_interp_visit_living(void (*visit)(owngil_worker *))
{
    pthread_mutex_lock(&living_lock);
    for (owngil_worker *at = living; at != NULL; at = at->next) {
        visit(at);
    }
    pthread_mutex_unlock(&living_lock);
}

size_t
owngil_interp_count(void)
{
    size_t count = 0;
    pthread_mutex_lock(&living_lock);
    for (const owngil_worker *at = living; at != NULL; at = at->next) {
        count++;
    }
    pthread_mutex_unlock(&living_lock);
    return count;
}

PyInterpreterState *
owngil_interp_enter(owngil_worker *self)
{
    pthread_mutex_lock(&self->lock);
    PyInterpreterState *interp = self->interp;
    self->visitors += interp != NULL;
    pthread_mutex_unlock(&self->lock);
    return interp;
}

void
owngil_interp_leave(owngil_worker *self)
{
    pthread_mutex_lock(&self->lock);
    self->visitors--;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

void
owngil_interp_add_visitor(owngil_worker *self, owngil_visitor *visitor)
{
    pthread_mutex_lock(&self->lock);
    visitor->next = self->inside;
    self->inside = visitor;
    pthread_mutex_unlock(&self->lock);
}

void
owngil_interp_remove_visitor(owngil_worker *self, const owngil_visitor *visitor)
{
    pthread_mutex_lock(&self->lock);
    owngil_visitor **at = &self->inside;
    while (*at != visitor) {
        at = &(*at)->next;
    }
    *at = visitor->next;
    pthread_mutex_unlock(&self->lock);
}

static bool
is_visitor(owngil_worker *self, const PyThreadState *tstate)
{
    pthread_mutex_lock(&self->lock);
    const owngil_visitor *at = self->inside;
    while (at != NULL && at->tstate != tstate) {
        at = at->next;
    }
    pthread_mutex_unlock(&self->lock);
    return at != NULL;
}

/* From here on nobody else enters the interpreter; waits for those who are there. Needs the GIL, and lets go of it. */
static void
turn_away_visitors(owngil_worker *self)
{
    Py_BEGIN_ALLOW_THREADS
    pthread_mutex_lock(&self->lock);
    self->interp = NULL;
    while (self->visitors > 0) {
        pthread_cond_wait(&self->changed, &self->lock);
    }
    pthread_mutex_unlock(&self->lock);
    Py_END_ALLOW_THREADS
}

static void *
worker_main(void *argument)
{
    owngil_worker *self = argument; /* and a reference to it */
    PyInterpreterConfig config = {
        .use_main_obmalloc = 0,
        .allow_fork = 0,
        .allow_exec = 0,
        .allow_threads = 1,
        .allow_daemon_threads = 1, /* tqdm's monitor is one; owngil_interp_await_threads deals with them */
        .check_multi_interp_extensions = 1,
        .gil = PyInterpreterConfig_OWN_GIL,
    };
    PyThreadState *tstate = NULL;

    current = self;
    PyStatus status = Py_NewInterpreterFromConfig(&tstate, &config);
    if (PyStatus_Exception(status)) {
        report(self, OWNGIL_REPLY_FAILED, status.err_msg != NULL ? status.err_msg : "no interpreter could be made");
    }
    else {
        self->ident = PyThread_get_thread_ident();
        owngil_parking_adopt(&self->parking);
        PyInterpreterState *interp = PyThreadState_GetInterpreter(tstate);
        atomic_store(&self->own_interp, interp);
        add_to_living(self);
        pthread_mutex_lock(&self->lock);
        self->interp = interp;
        pthread_mutex_unlock(&self->lock);
        atomic_store(&self->interpreter_id, PyInterpreterState_GetID(interp));
        self->heap.interp = interp;
        owngil_heap_use(&self->heap);
        if (run_bootstrap(self) < 0) {
            owngil_interp_before_end(self); /* which may not be registered yet */
        }
        int64_t end = owngil_tally_turn(&self->tally, OWNGIL_PHASE_END);
        owngil_copies_end_thread(&self->copies);
        turn_away_visitors(self);
        remove_from_living(self);
        Py_EndInterpreter(tstate);
        owngil_heap_use(NULL);
        atomic_store(&self->own_interp, NULL);
        owngil_copies_exit(&self->copies);
        owngil_parking_adopt(NULL);
        owngil_observe_end(self, end);
    }
    report(self, OWNGIL_REPLY_EXITED, NULL);
    current = NULL;
    owngil_shared_release(&self->base);
    return NULL;
}

owngil_worker *
owngil_interp_start(const char *name, uint64_t number, const char *bootstrap, owngil_message *setup,
                    owngil_queue *tasks, owngil_queue *replies, int *error)
{
    owngil_worker *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        *error = ENOMEM;
        return NULL;
    }
    owngil_shared_init(&self->base, OWNGIL_KIND_WORKER, worker_free);
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->changed, NULL);
    owngil_parking_init(&self->parking);
    owngil_copies_init(&self->copies);
    atomic_init(&self->interpreter_id, -1);
    atomic_init(&self->own_interp, NULL);
    atomic_init(&self->task, 0);
    atomic_init(&self->joined, false);
    atomic_init(&self->stopped, false);
    owngil_tally_init(&self->tally);
    atomic_init(&self->limit, 0);
    owngil_alarm_init(&self->limit_alarm, &self->base, owngil_stopping_ring_limit);
    owngil_alarm_init(&self->grace_alarm, &self->base, owngil_stopping_ring_grace);
    self->number = number;
    self->setup = setup;
    owngil_shared_acquire(&setup->base);
    self->tasks = tasks;
    owngil_shared_acquire(&tasks->base);
    self->replies = replies;
    owngil_shared_acquire(&replies->base);
    self->name = strdup(name);
    self->bootstrap = strdup(bootstrap);
    if (self->name == NULL || self->bootstrap == NULL) {
        *error = ENOMEM;
        goto failed;
    }

    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, owngil_runtime_stack_size());
    owngil_shared_acquire(&self->base); /* the thread's */
    *error = pthread_create(&self->thread, &attributes, worker_main, self);
    pthread_attr_destroy(&attributes);
    if (*error != 0) {
        owngil_shared_release(&self->base);
        goto failed;
    }
    char short_name[16]; /* Linux allows no more */
    snprintf(short_name, sizeof(short_name), "%s", name);
    pthread_setname_np(self->thread, short_name);
    return self;

failed:
    atomic_store(&self->joined, true); /* there is no thread */
    owngil_shared_release(&self->base);
    return NULL;
}

owngil_worker *
owngil_interp_current(void)
{
    return current;
}

void
owngil_interp_join(owngil_worker *self)
{
    bool expected = false;
    if (owngil_shared_is_foreign(&self->base) || !atomic_compare_exchange_strong(&self->joined, &expected, true)) {
        return;
    }
    Py_BEGIN_ALLOW_THREADS
    pthread_join(self->thread, NULL);
    Py_END_ALLOW_THREADS
    owngil_copies_settle(&self->copies);
    owngil_argparsers_release(); /* the interpreter's end may have filled in more */
    Py_BEGIN_ALLOW_THREADS
    if (!owngil_copies_unload(&self->copies)) {
        owngil_shared_acquire(&self->base); /* for ever: what stays loaded may come back to it */
    }
    if (owngil_copies_are_idle(&self->copies)) {
        owngil_arenas_free(self);
        owngil_heap_clear(&self->heap);
    }
    Py_END_ALLOW_THREADS
}

/* Thread states of `interp` other than the caller's. The list changes only with the GIL held, which the caller does. */
static size_t
count_others(PyInterpreterState *interp)
{
    size_t count = 0;
    for (PyThreadState *at = PyInterpreterState_ThreadHead(interp); at != NULL; at = PyThreadState_Next(at)) {
        count += at != PyThreadState_Get();
    }
    return count;
}

/* Asks the other threads of the worker's own to end: those that run Python code do so at their next bytecode. */
static void
stop_others(owngil_worker *self, PyInterpreterState *interp)
{
    for (PyThreadState *at = PyInterpreterState_ThreadHead(interp); at != NULL; at = PyThreadState_Next(at)) {
        if (at != PyThreadState_Get() && !is_visitor(self, at)) {
            PyThreadState_SetAsyncExc(at->thread_id, PyExc_SystemExit);
        }
    }
}

/* Profile function of last resort, for threads that went on when they were asked to end: whatever such a thread does
 * next, it waits here until the process is gone. */
static int
park_thread(PyObject *Py_UNUSED(unused), PyFrameObject *Py_UNUSED(frame), int Py_UNUSED(what), PyObject *Py_UNUSED(arg))
{
    if (current == NULL) { /* the worker's own thread is not meant */
        Py_BEGIN_ALLOW_THREADS
        for (;;) {
            pause();
        }
        Py_END_ALLOW_THREADS
    }
    return 0;
}

/* Waits for the other threads to go; returns whether they did. CPython tells nobody when one goes: hence the short
 * sleeps, which only a worker that is closing and has daemon threads ever does. Needs the GIL, and lets go of it. */
static bool
others_are_gone(PyInterpreterState *interp)
{
    const struct timespec nap = {.tv_nsec = 1000000};
    enum { NAPS = 250 };
    for (int k = 0; k < NAPS && count_others(interp) > 0; k++) {
        Py_BEGIN_ALLOW_THREADS
        nanosleep(&nap, NULL);
        Py_END_ALLOW_THREADS
    }
    return count_others(interp) == 0;
}

/* Forgets the other threads. They sleep in C, or in park_thread(): one that wakes after this finds its state gone.
 * That is safe only once the process is finalizing, and the moment until then is short. */
static void
drop_others(PyInterpreterState *interp)
{
    PyThreadState *at = PyInterpreterState_ThreadHead(interp);
    while (at != NULL) {
        PyThreadState *next = PyThreadState_Next(at);
        if (at != PyThreadState_Get()) {
            PyThreadState_Clear(at);
            PyThreadState_Delete(at);
        }
        at = next;
    }
}

/* Returns when the interpreter has no other thread: Py_EndInterpreter kills the process otherwise. */
static void
await_threads(owngil_worker *self)
{
    PyInterpreterState *interp = PyInterpreterState_Get();

    turn_away_visitors(self);
    if (count_others(interp) == 0) {
        return;
    }
    stop_others(self, interp);
    if (others_are_gone(interp)) {
        return;
    }
    PyEval_SetProfileAllThreads(park_thread, NULL);
    if (others_are_gone(interp)) {
        return;
    }
    PyEval_SetProfile(NULL, NULL);
    atomic_store(&self->joined, true);
    owngil_shared_acquire(&self->base); /* for ever: its copies stay loaded, and their threads may come back to it */
    owngil_runtime_keep(pthread_self());
    report(self, OWNGIL_REPLY_KEPT, NULL);
    Py_BEGIN_ALLOW_THREADS
    owngil_runtime_await_exit();
    Py_END_ALLOW_THREADS
    drop_others(interp);
}

void
owngil_interp_before_end(owngil_worker *self)
{
    await_threads(self);
    owngil_argparsers_release();
}

void
owngil_interp_fork(owngil_fork_step step)
{
    owngil_fork_lock(step, &living_lock);
    if (step == OWNGIL_FORK_CHILD) {
        living = NULL;
    }
}

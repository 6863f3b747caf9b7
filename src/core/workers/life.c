#include "workers/life.h"

#include "base/compat.h"
#include "cpython/arena_tracking.h"
#include "cpython/keyword_parsers.h"
#include "cpython/tracemalloc_hooks.h"
#include "platform/thread.h"
#include "workers/guests.h"
#include "workers/interrupts.h"
#include "workers/pause.h"
#include "workers/registry.h"
#include "workers/shutdown.h"

/* Reports the exception that is set, with its traceback, and clears it. Needs the GIL.
 *
 * A stopped worker reports it without the traceback, which is not wanted then. Importing `traceback` evaluates strings,
 * which makes CPython forget that a KeyboardInterrupt is ending the process. */
static void
report_exception(owngil_worker *self)
{
    PyObject *exception = PyErr_GetRaisedException();
    PyObject *module = !atomic_load(&self->stopped) ? PyImport_ImportModule("traceback") : NULL;
    PyObject *lines = module != NULL ? PyObject_CallMethod(module, "format_exception", "O", exception) : NULL;
    if (lines == NULL) {
        PyErr_Clear();
        lines = Py_BuildValue("[N]", PyObject_Repr(exception));
    }
    PyObject *text = lines != NULL ? owngil_worker_join_lines(lines) : NULL;
    owngil_worker_report(self, OWNGIL_MESSAGE_FAILED,
                         text != NULL ? PyBytes_AS_STRING(text)
                                      : "the worker failed with an exception that has no text");
    PyErr_Clear();
    Py_XDECREF(text);
    Py_XDECREF(lines);
    Py_XDECREF(module);
    Py_XDECREF(exception);
}

/* Runs the bootstrap source in a namespace of its own, and reports a failure. Needs the GIL. */
static void
run_bootstrap(owngil_worker *self)
{
    PyObject *globals = PyDict_New();
    PyObject *result = NULL;
    if (globals != NULL && PyDict_SetItemString(globals, "__builtins__", PyEval_GetBuiltins()) == 0) {
        PyObject *code = Py_CompileString(self->bootstrap, "<string>", Py_file_input);
        /* Not PyRun_String(), which sets for the whole process whether a KeyboardInterrupt ended it: its exit code. */
        result = code != NULL ? PyEval_EvalCode(code, globals, globals) : NULL;
        Py_XDECREF(code);
    }
    if (result == NULL) {
        report_exception(self);
    }
    Py_XDECREF(result);
    Py_XDECREF(globals);
}

static void *
worker_main(void *argument)
{
    owngil_worker *self = argument; /* owned */
    PyInterpreterConfig config = {
        .use_main_obmalloc = 0,
        .allow_fork = 0,
        .allow_exec = 0,
        .allow_threads = 1,
        .allow_daemon_threads = 1, /* tqdm's monitor is one; shutdown.c ends them */
        .check_multi_interp_extensions = 1,
        .gil = PyInterpreterConfig_OWN_GIL,
    };
    PyThreadState *tstate = NULL;

    owngil_worker_adopt(self);
    self->has_own_folder = owngil_thread_own_folder();
    owngil_tracemalloc_hooks_leave_out(true);
    owngil_pause_keep_out();
    PyStatus status = Py_NewInterpreterFromConfig(&tstate, &config);
    if (PyStatus_Exception(status)) {
        owngil_pause_let_in();
        owngil_worker_report(self, OWNGIL_MESSAGE_FAILED,
                             status.err_msg != NULL ? status.err_msg : "CPython could not make an interpreter");
    }
    else {
        self->ident = PyThread_get_thread_ident();
        owngil_parking_adopt(&self->parking);
        PyInterpreterState *interp = PyThreadState_GetInterpreter(tstate);
        atomic_store(&self->own_interp, interp);
        owngil_registry_add(self);
        bool guarded = owngil_pause_guard_imports() == 0;
        owngil_pause_let_in();
        pthread_mutex_lock(&self->lock);
        self->tstate = tstate;
        self->interp = interp;
        pthread_mutex_unlock(&self->lock);
        atomic_store(&self->interpreter_id, PyInterpreterState_GetID(interp));
        self->heap.interp = interp;
        owngil_large_objects_use(&self->heap);
        if (guarded) {
            run_bootstrap(self);
        }
        else {
            report_exception(self);
        }
        self->is_done = true;
        if (!self->prepared) {
            owngil_shutdown_before_end(self); /* the atexit function is not registered yet, or not any more */
        }
        int64_t end = owngil_counters_enter(&self->activity.counters, OWNGIL_PHASE_END);
        Py_EndInterpreter(tstate); /* its atexit functions call owngil_shutdown_before_end() */
        if (self->ends) {
            owngil_pause_let_in();
        }
        owngil_registry_remove(self); /* if a task has removed the atexit function */
        owngil_large_objects_use(NULL);
        atomic_store(&self->own_interp, NULL);
        owngil_copies_exit(&self->copies);
        owngil_parking_adopt(NULL);
        owngil_events_end(&self->activity, end);
    }
    owngil_worker_report(self, OWNGIL_MESSAGE_EXITED, NULL);
    owngil_worker_adopt(NULL);
    owngil_refcount_release(&self->base);
    return NULL;
}

owngil_worker *
owngil_life_start(const char *name, uint64_t number, const char *bootstrap, owngil_message *setup, owngil_queue *tasks,
                  owngil_queue *replies, int *error)
{
    owngil_worker *self = owngil_worker_new(name, number, bootstrap, setup, tasks, replies, &owngil_guests_functions);
    if (self == NULL) {
        *error = ENOMEM;
        return NULL;
    }
    owngil_timer_init(&self->limit_timer, &self->base, owngil_interrupts_limit_expired);
    owngil_timer_init(&self->grace_timer, &self->base, owngil_interrupts_grace_expired);

    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, owngil_thread_stack_size());
    owngil_refcount_acquire(&self->base); /* the thread's */
    atomic_store(&self->joined, false);
    *error = pthread_create(&self->thread, &attributes, worker_main, self);
    pthread_attr_destroy(&attributes);
    if (*error != 0) {
        atomic_store(&self->joined, true);
        owngil_refcount_release(&self->base);
        owngil_refcount_release(&self->base);
        return NULL;
    }
    owngil_thread_set_name(self->thread, name);
    return self;
}

/* Closed workers whose memory stays because a thread of a private copy lives. Each is referenced for ever. */
static pthread_mutex_t lingering_lock = PTHREAD_MUTEX_INITIALIZER; /* a leaf; guards the list */
static owngil_worker *lingering;

/* Frees the memory that the worker's interpreter left, or puts the worker into the list of those that linger. Returns NULL, or
 * the library that started the living thread. Needs no GIL. */
static const char *
free_or_linger(owngil_worker *self, bool waits)
{
    const char *living = owngil_threads_living(&self->copies.threads, waits);
    if (living == NULL) {
        owngil_arena_tracking_free(self->owner);
        owngil_large_objects_clear(&self->heap);
    }
    else {
        pthread_mutex_lock(&lingering_lock);
        self->next_lingering = lingering;
        lingering = self;
        pthread_mutex_unlock(&lingering_lock);
    }
    return living;
}

/* Frees the memory of earlier workers whose threads have ended since. */
static void
free_lingering(void)
{
    pthread_mutex_lock(&lingering_lock);
    owngil_worker *list = lingering;
    lingering = NULL;
    pthread_mutex_unlock(&lingering_lock);
    while (list != NULL) {
        owngil_worker *worker = list;
        list = worker->next_lingering;
        (void)free_or_linger(worker, false);
    }
}

void
owngil_life_atfork(owngil_atfork_step step)
{
    owngil_atfork_lock(step, &lingering_lock);
    if (step == OWNGIL_ATFORK_CHILD) {
        lingering = NULL;
    }
}

const char *
owngil_life_join(owngil_worker *self)
{
    bool expected = false;
    const char *living = NULL;
    if (owngil_refcount_is_inherited(&self->base) || !atomic_compare_exchange_strong(&self->joined, &expected, true)) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    pthread_join(self->thread, NULL);
    Py_END_ALLOW_THREADS
    owngil_copies_decide(&self->copies, owngil_keyword_parsers_forget);
    owngil_keyword_parsers_release(); /* the end of the interpreter may have filled in more */
    Py_BEGIN_ALLOW_THREADS
    free_lingering();
    bool unloaded = owngil_copies_unload(&self->copies);
    owngil_refcount_acquire(&self->base);
    living = free_or_linger(self, true);
    if (unloaded && living == NULL) { /* else pinned copies and their threads may use it, for ever */
        owngil_refcount_release(&self->base);
    }
    Py_END_ALLOW_THREADS
    return living;
}

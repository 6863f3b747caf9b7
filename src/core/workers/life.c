#include "workers/life.h"

#include "base/compat.h"
#include "cpython/arena_tracking.h"
#include "cpython/keyword_parsers.h"
#include "platform/thread.h"
#include "workers/guests.h"
#include "workers/interrupts.h"
#include "workers/registry.h"
#include "workers/shutdown.h"

#include <string.h>

static void
report_failure(owngil_worker *self, const char *text)
{
    owngil_worker_report(self, OWNGIL_MESSAGE_FAILED, text, strlen(text));
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
    report_failure(self, bytes != NULL ? PyBytes_AS_STRING(bytes) : "an error that has no text");
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

static void *
worker_main(void *argument)
{
    owngil_worker *self = argument; /* and a reference to it */
    PyInterpreterConfig config = {
        .use_main_obmalloc = 0,
        .allow_fork = 0,
        .allow_exec = 0,
        .allow_threads = 1,
        .allow_daemon_threads = 1, /* tqdm's monitor is one; shutdown.c deals with them */
        .check_multi_interp_extensions = 1,
        .gil = PyInterpreterConfig_OWN_GIL,
    };
    PyThreadState *tstate = NULL;

    owngil_worker_adopt(self);
    PyStatus status = Py_NewInterpreterFromConfig(&tstate, &config);
    if (PyStatus_Exception(status)) {
        report_failure(self, status.err_msg != NULL ? status.err_msg : "no interpreter could be made");
    }
    else {
        self->ident = PyThread_get_thread_ident();
        owngil_parking_adopt(&self->parking);
        PyInterpreterState *interp = PyThreadState_GetInterpreter(tstate);
        atomic_store(&self->own_interp, interp);
        owngil_registry_add(self);
        pthread_mutex_lock(&self->lock);
        self->interp = interp;
        pthread_mutex_unlock(&self->lock);
        atomic_store(&self->interpreter_id, PyInterpreterState_GetID(interp));
        self->heap.interp = interp;
        owngil_large_objects_use(&self->heap);
        if (run_bootstrap(self) < 0) {
            owngil_shutdown_before_end(self); /* which may not be registered yet */
        }
        int64_t end = owngil_counters_enter(&self->activity.counters, OWNGIL_PHASE_END);
        owngil_copies_end_thread(&self->copies);
        owngil_worker_refuse_holders(self);
        owngil_registry_remove(self);
        Py_EndInterpreter(tstate);
        owngil_large_objects_use(NULL);
        atomic_store(&self->own_interp, NULL);
        owngil_copies_exit(&self->copies);
        owngil_parking_adopt(NULL);
        owngil_events_end(&self->activity, end);
    }
    owngil_worker_report(self, OWNGIL_MESSAGE_EXITED, NULL, 0);
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
    owngil_keyword_parsers_release(); /* the interpreter's end may have filled in more */
    Py_BEGIN_ALLOW_THREADS
    bool unloaded = owngil_copies_unload(&self->copies);
    living = owngil_threads_living(&self->copies.threads);
    if (!unloaded || living != NULL) {
        owngil_refcount_acquire(&self->base); /* for ever: pinned copies and their threads may come back to it */
    }
    if (living == NULL) {
        owngil_arena_tracking_free(self->owner);
        owngil_large_objects_clear(&self->heap);
    }
    Py_END_ALLOW_THREADS
    return living;
}

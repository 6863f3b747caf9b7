#include "workers/interrupts.h"

#include "base/compat.h"
#include "cpython/tracemalloc_hooks.h"

#include <stdlib.h>

/* Seconds that a helper thread may wait for the GIL of the worker that it inspects. */
#define INSPECTION_PATIENCE 0.5

/* Seconds until an errand is tried again for which no thread could start. */
#define RETRY_AFTER 0.05

/* Nanoseconds during which a Ctrl-C ends several things: first the wait for a task, which interrupts that task, and
 * then, for example, the block that the wait was in. */
#define ONE_CTRL_C INT64_C(400000000)

/* Whether the worker is in that task and in that call with a limit (0: in any, or none). Final only with the worker's
 * GIL. */
static bool
is_still_in(owngil_worker *worker, uint64_t task, uint64_t limit)
{
    return (task == 0 || atomic_load(&worker->task) == task) && (limit == 0 || atomic_load(&worker->limit) == limit);
}

/* An errand: a helper thread's task in a worker's interpreter. */
typedef struct owngil_errand {
    struct owngil_errand *next; /* in the worker's `errands`, until the helper thread has the GIL */
    owngil_worker *worker;
    PyInterpreterState *interp;
    uint64_t task, limit;
    bool inspects; /* else it interrupts */
} errand;

/* Appends a line for the frame: file, line number and function, with 0x1f between them. Returns 0, or -1 with an
 * exception. Needs the GIL. */
static int
append_frame(PyObject *lines, PyFrameObject *frame)
{
    PyCodeObject *code = PyFrame_GetCode(frame);
    PyObject *file = PyObject_GetAttrString((PyObject *)code, "co_filename");
    PyObject *name = file != NULL ? PyObject_GetAttrString((PyObject *)code, "co_qualname") : NULL;
    PyObject *line =
        name != NULL ? PyUnicode_FromFormat("%S\x1f%d\x1f%S\n", file, PyFrame_GetLineNumber(frame), name) : NULL;
    int failed = line == NULL ? -1 : PyList_Append(lines, line);
    Py_XDECREF(line);
    Py_XDECREF(name);
    Py_XDECREF(file);
    Py_DECREF(code);
    return failed;
}

/* Returns the worker's stack as a list of lines, innermost frame first, or NULL with an exception. Runs no Python code.
 * Needs the worker's GIL, while the caller holds the interpreter: so the worker's thread is in C code that has released
 * the GIL, and its frames stand still. */
static PyObject *
describe_stack(owngil_worker *worker)
{
    PyObject *lines = PyList_New(0);
    PyFrameObject *frame = lines != NULL ? PyThreadState_GetFrame(worker->tstate) : NULL;
    while (frame != NULL) {
        if (lines != NULL && append_frame(lines, frame) < 0) {
            Py_CLEAR(lines);
        }
        PyFrameObject *back = PyFrame_GetBack(frame);
        Py_DECREF(frame);
        frame = back;
    }
    return lines;
}

/* Reports once that the worker does not notice its interrupt. `stack` is UTF-8, "" if it is not known. Needs no GIL. */
static void
report_stuck(owngil_worker *worker, uint64_t task, const char *stack)
{
    pthread_mutex_lock(&worker->lock);
    bool reported = worker->pending.reported;
    worker->pending.reported = true;
    pthread_mutex_unlock(&worker->lock);
    if (!reported) {
        owngil_worker_report(worker, task == OWNGIL_TASK_START ? OWNGIL_MESSAGE_STUCK_START : OWNGIL_MESSAGE_STUCK,
                             stack);
    }
}

/* Reports the stack of a task that the worker runs. Needs the worker's GIL. */
static void
inspect(owngil_worker *worker, uint64_t task)
{
    PyObject *lines = describe_stack(worker);
    PyObject *stack = lines != NULL ? owngil_worker_join_lines(lines) : NULL;
    if (stack != NULL) {
        report_stuck(worker, task, PyBytes_AS_STRING(stack));
    }
    Py_XDECREF(stack);
    Py_XDECREF(lines);
    PyErr_Clear();
}

/* Takes the errand out of its list: from here on, an interrupt like this one needs a helper thread of its own. Locks
 * the worker. */
static void
unlink_errand(const errand *this)
{
    pthread_mutex_lock(&this->worker->lock);
    errand **at = &this->worker->errands;
    while (*at != this) {
        at = &(*at)->next;
    }
    *at = this->next;
    pthread_mutex_unlock(&this->worker->lock);
}

/* Whether another helper thread is on its way for the same. Needs the worker's lock. */
static bool
is_on_its_way(const errand *this)
{
    const errand *at = this->worker->errands;
    while (at != NULL && (at->task != this->task || at->limit != this->limit || at->inspects != this->inspects)) {
        at = at->next;
    }
    return at != NULL;
}

/* The helper thread: waits for the worker's GIL and does its errand. */
static void *
helper_main(void *argument)
{
    errand *this = argument;
    owngil_worker *worker = this->worker;
    owngil_tracemalloc_hooks_leave_out(true);
    PyThreadState *tstate = PyThreadState_New(this->interp);
    if (tstate != NULL) {
        PyEval_RestoreThread(tstate);
    }
    unlink_errand(this);
    if (tstate != NULL) {
        /* The worker starts and ends tasks with its GIL held, so this one cannot end meanwhile. */
        bool in_time = is_still_in(worker, this->task, this->limit);
        if (in_time && this->inspects) {
            inspect(worker, this->task);
        }
        else if (in_time && worker->postpones) {
            worker->postponed = true;
        }
        else if (in_time && !owngil_parking_interrupt(&worker->parking)) {
            PyThreadState_SetAsyncExc(worker->ident, PyExc_KeyboardInterrupt);
        }
        PyThreadState_Clear(tstate);
        PyThreadState_DeleteCurrent();
    }
    owngil_worker_release(worker);
    owngil_refcount_release(&worker->base);
    free(this);
    return NULL;
}

/* Starts a helper thread, unless one is on its way for the same. Returns 0 or an errno. Locks the worker. */
static int
send_helper(const errand *what)
{
    owngil_worker *worker = what->worker;
    errand *this = malloc(sizeof(*this));
    if (this == NULL) {
        return ENOMEM;
    }
    PyInterpreterState *interp = owngil_worker_hold(worker);
    if (interp == NULL) {
        free(this);
        return 0;
    }
    *this = *what;
    this->interp = interp;
    owngil_refcount_acquire(&worker->base);
    int error = 0;
    /* Locked until the thread has started: a caller that finds this errand in the list relies on it. */
    pthread_mutex_lock(&worker->lock);
    bool needed = !is_on_its_way(this);
    if (needed) {
        pthread_t thread;
        error = pthread_create(&thread, NULL, helper_main, this);
        if (error == 0) {
            pthread_detach(thread);
            this->next = worker->errands;
            worker->errands = this;
        }
    }
    pthread_mutex_unlock(&worker->lock);
    if (!needed || error != 0) {
        owngil_worker_release(worker);
        owngil_refcount_release(&worker->base);
        free(this);
    }
    return error;
}

/* Interrupts the task or the call. If no helper thread can start, that is tried again. Returns 0, or an errno if the
 * thread of the timers cannot start either. */
static int
send_interrupt(owngil_worker *worker, uint64_t task, uint64_t limit, double grace)
{
    int error = send_helper(&(errand){.worker = worker, .task = task, .limit = limit});
    bool unsent = error != 0;
    if (grace > 0 || unsent) {
        pthread_mutex_lock(&worker->lock);
        const owngil_pending_interrupt *before = &worker->pending;
        bool same = before->task == task && before->limit == limit;
        worker->pending = (owngil_pending_interrupt){.task = task,
                                                     .limit = limit,
                                                     .grace = grace > 0 || !same ? grace : before->grace,
                                                     .unsent = unsent,
                                                     .since = owngil_clock_now(),
                                                     .serial = worker->pending.serial + 1};
        error = owngil_timer_set(&worker->grace_timer, unsent ? RETRY_AFTER : grace, task, true);
        pthread_mutex_unlock(&worker->lock);
    }
    return error;
}

int
owngil_interrupts_interrupt(owngil_worker *worker, uint64_t task, double grace)
{
    return task != 0 ? send_interrupt(worker, task, 0, grace) : 0;
}

int
owngil_interrupts_stop(owngil_worker *worker, double grace)
{
    /* run_task() sets `task` and then reads `stopped`. This does it the other way round, so one of the two sees the
     * other. */
    atomic_store(&worker->stopped, true);
    uint64_t task = atomic_load(&worker->task);
    pthread_mutex_lock(&worker->lock);
    const owngil_pending_interrupt *pending = &worker->pending;
    bool same = pending->task == task && pending->limit == 0 && owngil_clock_now() - pending->since < ONE_CTRL_C;
    pthread_mutex_unlock(&worker->lock);
    return same ? 0 : owngil_interrupts_interrupt(worker, task, grace);
}

void
owngil_interrupts_limit_expired(owngil_timer *timer, uint64_t limit)
{
    owngil_worker *worker = (owngil_worker *)timer->owner;
    uint64_t task = atomic_load(&worker->task);
    if (is_still_in(worker, task, limit)) {
        /* This is the timer thread, which must not wait: an interrupt that cannot be sent now is tried again. */
        (void)send_interrupt(worker, task, limit, worker->limit_grace);
    }
}

void
owngil_interrupts_grace_expired(owngil_timer *timer, uint64_t task)
{
    owngil_worker *worker = (owngil_worker *)timer->owner;
    pthread_mutex_lock(&worker->lock);
    owngil_pending_interrupt pending = worker->pending;
    pthread_mutex_unlock(&worker->lock);
    if (pending.task != task || !is_still_in(worker, task, pending.limit)) {
        return;
    }
    if (pending.inspected) {
        report_stuck(worker, task, "");
        return;
    }
    bool inspects = !pending.unsent;
    int error = send_helper(&(errand){.worker = worker, .task = task, .limit = pending.limit, .inspects = inspects});
    if (error == 0) {
        pthread_mutex_lock(&worker->lock);
        if (worker->pending.serial == pending.serial) { /* else it is about a later interrupt */
            worker->pending.unsent = false;
            worker->pending.inspected = inspects;
        }
        pthread_mutex_unlock(&worker->lock);
    }
    if (error == 0 && !inspects && pending.grace == 0) {
        return;
    }
    /* A later interrupt may have set the timer for itself by now. */
    (void)owngil_timer_set(timer,
                           error != 0 ? RETRY_AFTER
                           : inspects ? INSPECTION_PATIENCE
                                      : pending.grace,
                           task, false);
}

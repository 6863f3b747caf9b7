#include "workers/interrupts.h"

#include "base/compat.h"

#include <stdlib.h>
#include <string.h>

/* How long the visitor that inspects what a worker is doing may wait for the worker's GIL. */
#define PATIENCE 0.5

/* After how long what could not be sent, for want of threads, is tried again. */
#define AGAIN 0.05

/* Nanoseconds from the interrupt of a task, as the wait for it ended by Ctrl-C, to the end of all that the same Ctrl-C ends,
 * such as the block that the wait was in. */
#define ONE_CTRL_C INT64_C(400000000)

static owngil_worker *
worker_of_timer(owngil_timer *timer)
{
    return (owngil_worker *)timer->owner;
}

/* Whether the worker is in that task and in that call with a limit (0: in any, or none). Decides with the worker's GIL held. */
static bool
is_running(owngil_worker *worker, uint64_t task, uint64_t limit)
{
    return (task == 0 || atomic_load(&worker->task) == task) && (limit == 0 || atomic_load(&worker->limit) == limit);
}

/* What a helper thread is sent into a worker's interpreter for. */
typedef struct owngil_errand {
    struct owngil_errand *next; /* among the worker's `errands`, until the helper thread has the GIL */
    owngil_worker *worker;
    PyInterpreterState *interp;
    uint64_t task, limit;
    bool inspects; /* else it interrupts */
} errand;

/* Appends a line for the frame: file, number of the line, function, each with 0x1f behind it. Returns 0, or -1 with an
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

/* The stack of the worker's thread, innermost frame first, as UTF-8 bytes; or NULL with an exception. Runs no Python code.
 * Needs the worker's GIL: so that thread is in C code that has let go of it, and its frames stand still. */
static PyObject *
describe_stack(owngil_worker *worker, PyInterpreterState *interp)
{
    PyObject *lines = PyList_New(0);
    PyThreadState *at = PyInterpreterState_ThreadHead(interp);
    while (at != NULL && at->thread_id != worker->ident) {
        at = PyThreadState_Next(at);
    }
    PyFrameObject *frame = at != NULL && lines != NULL ? PyThreadState_GetFrame(at) : NULL;
    bool failed = lines == NULL;
    while (frame != NULL) {
        failed = failed || append_frame(lines, frame) < 0;
        PyFrameObject *back = PyFrame_GetBack(frame);
        Py_DECREF(frame);
        frame = back;
    }
    PyObject *empty = !failed ? PyUnicode_FromString("") : NULL;
    PyObject *text = empty != NULL ? PyUnicode_Join(empty, lines) : NULL;
    PyObject *bytes = text != NULL ? PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace") : NULL;
    Py_XDECREF(text);
    Py_XDECREF(empty);
    Py_XDECREF(lines);
    return bytes;
}

/* Says that the worker does not notice its interrupt, unless that was said: `stack` is NULL if it is not known. Needs no GIL. */
static void
report_stuck(owngil_worker *worker, uint64_t task, const char *stack, size_t size)
{
    pthread_mutex_lock(&worker->lock);
    bool reported = worker->doubt.reported;
    worker->doubt.reported = true;
    pthread_mutex_unlock(&worker->lock);
    if (reported) {
        return;
    }
    owngil_worker_report(worker, task == OWNGIL_TASK_START ? OWNGIL_MESSAGE_STUCK_START : OWNGIL_MESSAGE_STUCK,
                         stack != NULL ? stack : "", size);
}

static void
inspect(owngil_worker *worker, uint64_t task, PyInterpreterState *interp)
{
    PyObject *stack = describe_stack(worker, interp);
    if (stack != NULL) {
        report_stuck(worker, task, PyBytes_AS_STRING(stack), (size_t)PyBytes_GET_SIZE(stack));
        Py_DECREF(stack);
    }
    PyErr_Clear();
}

/* From here on an interrupt like this one is not on its way any more, and needs a visit of its own. Locks the worker. */
static void
arrive(const errand *this)
{
    pthread_mutex_lock(&this->worker->lock);
    errand **at = &this->worker->errands;
    while (*at != this) {
        at = &(*at)->next;
    }
    *at = this->next;
    pthread_mutex_unlock(&this->worker->lock);
}

/* Whether one like this is on its way. The worker is locked. */
static bool
is_on_its_way(const errand *this)
{
    const errand *at = this->worker->errands;
    while (at != NULL && (at->task != this->task || at->limit != this->limit || at->inspects != this->inspects)) {
        at = at->next;
    }
    return at != NULL;
}

/* Enters the worker's interpreter, as soon as its GIL can be had. */
static void *
helper_main(void *argument)
{
    errand *this = argument;
    owngil_worker *worker = this->worker;
    PyThreadState *tstate = PyThreadState_New(this->interp);
    if (tstate != NULL) {
        PyEval_RestoreThread(tstate);
    }
    arrive(this);
    if (tstate != NULL) {
        /* The worker starts and ends tasks with its GIL held, so that this one cannot end in between. */
        bool in_time = is_running(worker, this->task, this->limit);
        if (in_time && this->inspects) {
            inspect(worker, this->task, this->interp);
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

/* Returns 0 or an errno. */
static int
start_thread(errand *this)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    int error = pthread_create(&thread, &attributes, helper_main, this);
    pthread_attr_destroy(&attributes);
    return error;
}

/* Starts a visit, unless one like it is on its way. Returns 0 or an errno. Locks the worker. */
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
    /* Until the thread is there: who finds this visit on its way counts on it. */
    pthread_mutex_lock(&worker->lock);
    bool needed = !is_on_its_way(this);
    if (needed) {
        error = start_thread(this);
        if (error == 0) {
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

/* Returns 0 or an errno. If no thread can be had for an interrupt with a grace period, it is tried again. */
static int
interrupt(owngil_worker *worker, uint64_t task, uint64_t limit, double grace)
{
    int error = send_helper(&(errand){.worker = worker, .task = task, .limit = limit});
    if (grace > 0) {
        bool unsent = error != 0;
        pthread_mutex_lock(&worker->lock);
        worker->doubt = (owngil_doubt){.task = task,
                                       .limit = limit,
                                       .grace = grace,
                                       .unsent = unsent,
                                       .since = owngil_clock_now(),
                                       .serial = worker->doubt.serial + 1};
        error = owngil_timer_set(&worker->grace_timer, unsent ? AGAIN : grace, task);
        pthread_mutex_unlock(&worker->lock);
    }
    return error;
}

int
owngil_interrupts_interrupt(owngil_worker *worker, uint64_t task, double grace)
{
    return task != 0 ? interrupt(worker, task, 0, grace) : 0;
}

int
owngil_interrupts_stop(owngil_worker *worker, double grace)
{
    /* run_task() sets `task` and then inspects at `stopped`; here it is the other way round, so one of the two sees. */
    atomic_store(&worker->stopped, true);
    uint64_t task = atomic_load(&worker->task);
    pthread_mutex_lock(&worker->lock);
    const owngil_doubt *doubt = &worker->doubt;
    bool same = doubt->task == task && doubt->limit == 0 && owngil_clock_now() - doubt->since < ONE_CTRL_C;
    pthread_mutex_unlock(&worker->lock);
    return same ? 0 : owngil_interrupts_interrupt(worker, task, grace);
}

void
owngil_interrupts_limit_expired(owngil_timer *timer, uint64_t limit)
{
    owngil_worker *worker = worker_of_timer(timer);
    uint64_t task = atomic_load(&worker->task);
    if (is_running(worker, task, limit)) {
        /* The thread that this is on sets all timers: what cannot be sent now is tried again. */
        (void)interrupt(worker, task, limit, worker->limit_grace);
    }
}

void
owngil_interrupts_grace_expired(owngil_timer *timer, uint64_t task)
{
    owngil_worker *worker = worker_of_timer(timer);
    pthread_mutex_lock(&worker->lock);
    owngil_doubt doubt = worker->doubt;
    pthread_mutex_unlock(&worker->lock);
    if (doubt.task != task || !is_running(worker, task, doubt.limit)) {
        return;
    }
    if (doubt.inspected) {
        report_stuck(worker, task, NULL, 0);
        return;
    }
    bool inspects = !doubt.unsent;
    int error = send_helper(&(errand){.worker = worker, .task = task, .limit = doubt.limit, .inspects = inspects});
    if (error == 0) {
        pthread_mutex_lock(&worker->lock);
        if (worker->doubt.serial == doubt.serial) { /* not that about a later one */
            worker->doubt.unsent = false;
            worker->doubt.inspected = inspects;
        }
        pthread_mutex_unlock(&worker->lock);
    }
    (void)owngil_timer_set_again(timer, error != 0 ? AGAIN : inspects ? PATIENCE : doubt.grace, task);
}

/* The module owngil._core as one interpreter sees it: its types, and how shared objects get Python wrappers. */
#ifndef OWNGIL_MODULE_H
#define OWNGIL_MODULE_H

#include "base/compat.h"
#include "messaging/message.h"
#include "messaging/queue.h"
#include <stdbool.h>

enum { OWNGIL_SYNC_TYPES = OWNGIL_KIND_COUNTER - OWNGIL_KIND_LOCK + 1 };

typedef struct {
    PyTypeObject *block_type;
    PyTypeObject *message_type;
    PyTypeObject *queue_type;
    PyTypeObject *worker_type;
    PyTypeObject *sync_types[OWNGIL_SYNC_TYPES]; /* by kind, from OWNGIL_KIND_LOCK on */
    PyTypeObject *transfer_type;
    PyTypeObject *wakeup_type;
    PyObject *queue_closed; /* exception class */
    PyObject *future_names; /* a tuple; see message_type.c */
    Py_ssize_t versioned;   /* as many modules were there when all types had versions; see type_versions.h */
} owngil_state;

/* Every wrapper starts like this. */
typedef struct {
    PyObject_HEAD
    owngil_shared *shared; /* owned; never NULL once the wrapper is made */
} owngil_wrapper;

/* The state of the module that made the type; `type` is one of the types above. */
static inline owngil_state *
owngil_state_of(PyTypeObject *type)
{
    return (owngil_state *)PyType_GetModuleState(type);
}

/* Returns a new wrapper that takes over the reference to `shared`, even when it fails. Needs the GIL. */
PyObject *owngil_wrap(PyTypeObject *type, owngil_shared *shared);

/* tp_dealloc of the wrappers. */
void owngil_wrapper_dealloc(PyObject *self);

/* __reduce__ of the wrappers: what belongs to this process cannot be written down. */
PyObject *owngil_wrapper_reduce(PyObject *self, PyObject *unused);

/* Equal wrappers are those of one shared object: wrappers come and go, the object stays. */
PyObject *owngil_wrapper_richcompare(PyObject *self, PyObject *other, int op);
Py_hash_t owngil_wrapper_hash(PyObject *self);

extern PyType_Spec owngil_block_spec, owngil_message_spec, owngil_queue_spec, owngil_worker_spec;
extern PyType_Spec owngil_transfer_spec, owngil_wakeup_spec;

/* lock_type.c, semaphore_type.c, sync_type.c and counter_type.c. */
extern PyType_Spec owngil_lock_spec, owngil_semaphore_spec, owngil_bounded_semaphore_spec, owngil_event_spec,
    owngil_barrier_spec, owngil_counter_spec;

/* block_type.c: a block that the interpreter `state` belongs to may read, and write if `writable`; takes over the
 * reference to `shared`, even when it fails. */
PyObject *owngil_block_wrap(owngil_state *state, owngil_shared *shared, bool writable);

/* queue_type.c: waits for a message, the caller's then, in the calling interpreter, as the receiver of that number (0: as
 * any); lets go of the GIL if it must. Returns 0, or -1 with the exception set: `closed`, TimeoutError, or what
 * interrupted. */
int owngil_queue_wait(owngil_queue *queue, uint64_t receiver, owngil_message **message, const owngil_deadline *deadline,
                      PyObject *closed);

/* message_type.c: the attributes of futures that the core must know. A new reference. */
PyObject *owngil_message_future_names(void);

/* Gives a TaskFuture, unless it is NULL or None, the message that its task has become. Returns 0 or -1. */
int owngil_message_note(owngil_state *state, PyObject *future, PyObject *message);

/* queue_type.c: a message of the Blocks, handles and bytes in the tuple `parts`, or NULL with the exception set ... */
owngil_message *owngil_message_from_parts(owngil_state *state, int kind, uint64_t id, PyObject *parts);

/* ... and back: a new tuple of wrappers; the message keeps its own references. Both need the GIL. */
PyObject *owngil_message_to_parts(owngil_state *state, const owngil_message *message, bool writable);

/* worker_type.c: the worker that calls, or NULL with RuntimeError set. */
struct owngil_worker *owngil_worker_require_current(void);

/* observe.c: a method of Worker, functions for its tasks, and recordings. */
PyObject *owngil_worker_tally(PyObject *self, PyObject *unused);
extern PyMethodDef owngil_observe_functions[];

/* transfer_type.c: methods of the Queue `self` that return a Transfer. Need the GIL, and the first lets go of it. */
PyObject *owngil_queue_receive(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *owngil_queue_begin_receive(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *owngil_queue_begin_send(PyObject *self, PyObject *const *args, Py_ssize_t count);

/* message_type.c, plain.c, worker_type.c, limits.c, extension.c and library.c: functions of the module. */
extern PyMethodDef owngil_message_functions[], owngil_plain_functions[], owngil_worker_functions[], owngil_limit_functions[],
    owngil_extension_functions[], owngil_library_functions[];

#endif

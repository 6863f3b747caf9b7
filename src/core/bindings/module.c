/* owngil._core: multi-phase, usable in interpreters with a GIL of their own, no static Python object.
 *
 * All interpreters load this one file, not copies of it: what its C statics hold (runtime.c) is the process's.
 */
#include "bindings/state.h"

#include "cpython/arena_tracking.h"
#include "memory/block.h"
#include "base/atfork.h"
#include "cpython/large_objects.h"
#include "workers/worker.h"

PyObject *
owngil_wrap(PyTypeObject *type, owngil_shared *shared)
{
    owngil_wrapper *self = (owngil_wrapper *)type->tp_alloc(type, 0);
    if (self == NULL) {
        owngil_shared_release(shared);
        return NULL;
    }
    self->shared = shared;
    return (PyObject *)self;
}

void
owngil_wrapper_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    owngil_shared_release(((owngil_wrapper *)self)->shared);
    type->tp_free(self);
    Py_DECREF(type);
}

PyObject *
owngil_wrapper_reduce(PyObject *self, PyObject *Py_UNUSED(unused))
{
    PyErr_Format(PyExc_TypeError, "cannot pickle '%.200s': it belongs to this process and passes to workers only",
                 Py_TYPE(self)->tp_name);
    return NULL;
}

PyObject *
owngil_wrapper_richcompare(PyObject *self, PyObject *other, int op)
{
    if (!Py_IS_TYPE(other, Py_TYPE(self)) || (op != Py_EQ && op != Py_NE)) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    bool same = ((owngil_wrapper *)self)->shared == ((owngil_wrapper *)other)->shared;
    return PyBool_FromLong(same == (op == Py_EQ));
}

Py_hash_t
owngil_wrapper_hash(PyObject *self)
{
    Py_hash_t hash = (Py_hash_t)((uintptr_t)((owngil_wrapper *)self)->shared >> 4);
    return hash == -1 ? -2 : hash;
}

static int
add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **type)
{
    *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    return *type == NULL ? -1 : PyModule_AddType(module, *type);
}

static int
module_exec(PyObject *module)
{
    owngil_state *state = PyModule_GetState(module);
    if (add_type(module, &owngil_block_spec, &state->block_type) < 0
        || add_type(module, &owngil_message_spec, &state->message_type) < 0
        || add_type(module, &owngil_queue_spec, &state->queue_type) < 0
        || add_type(module, &owngil_worker_spec, &state->worker_type) < 0
        || add_type(module, &owngil_transfer_spec, &state->transfer_type) < 0
        || add_type(module, &owngil_wakeup_spec, &state->wakeup_type) < 0) {
        return -1;
    }
    PyType_Spec *sync_specs[OWNGIL_SYNC_TYPES] = {
        &owngil_lock_spec,  &owngil_semaphore_spec, &owngil_bounded_semaphore_spec,
        &owngil_event_spec, &owngil_barrier_spec,   &owngil_counter_spec,
    };
    for (size_t k = 0; k < OWNGIL_SYNC_TYPES; k++) {
        if (add_type(module, sync_specs[k], &state->sync_types[k]) < 0) {
            return -1;
        }
    }
    state->queue_closed = PyErr_NewExceptionWithDoc(
        "owngil._core.QueueClosed", "The queue takes no more messages, and has none left to give.", NULL, NULL);
    state->future_names = owngil_message_future_names();
    if (state->queue_closed == NULL || state->future_names == NULL || PyModule_AddObjectRef(module, "QueueClosed", state->queue_closed) < 0
        || PyModule_AddIntConstant(module, "EXITED", OWNGIL_REPLY_EXITED) < 0
        || PyModule_AddIntConstant(module, "FAILED", OWNGIL_REPLY_FAILED) < 0
        || PyModule_AddIntConstant(module, "KEPT", OWNGIL_REPLY_KEPT) < 0
        || PyModule_AddIntConstant(module, "RESULT", OWNGIL_REPLY_RESULT) < 0
        || PyModule_AddIntConstant(module, "STUCK", OWNGIL_REPLY_STUCK) < 0
        || PyModule_AddIntConstant(module, "STUCK_START", OWNGIL_REPLY_STUCK_START) < 0
        || PyModule_AddIntConstant(module, "START", (long)OWNGIL_TASK_START) < 0
        || PyModule_AddIntConstant(module, "END", OWNGIL_TASK_END) < 0
        || PyModule_AddFunctions(module, owngil_message_functions) < 0
        || PyModule_AddFunctions(module, owngil_plain_functions) < 0
        || PyModule_AddFunctions(module, owngil_worker_functions) < 0
        || PyModule_AddFunctions(module, owngil_observe_functions) < 0
        || PyModule_AddFunctions(module, owngil_limit_functions) < 0
        || PyModule_AddFunctions(module, owngil_extension_functions) < 0
        || PyModule_AddFunctions(module, owngil_library_functions) < 0) {
        return -1;
    }
    if (PyInterpreterState_Get() == PyInterpreterState_Main()) {
        owngil_arenas_watch();
        owngil_heap_install();
        owngil_block_configure();
        if (owngil_fork_watch() < 0) {
            return -1;
        }
    }
    return 0;
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    owngil_state *state = PyModule_GetState(module);
    Py_VISIT(state->block_type);
    Py_VISIT(state->message_type);
    Py_VISIT(state->queue_type);
    Py_VISIT(state->worker_type);
    for (size_t k = 0; k < OWNGIL_SYNC_TYPES; k++) {
        Py_VISIT(state->sync_types[k]);
    }
    Py_VISIT(state->transfer_type);
    Py_VISIT(state->wakeup_type);
    Py_VISIT(state->queue_closed);
    Py_VISIT(state->future_names);
    return 0;
}

static int
module_clear(PyObject *module)
{
    owngil_state *state = PyModule_GetState(module);
    Py_CLEAR(state->block_type);
    Py_CLEAR(state->message_type);
    Py_CLEAR(state->queue_type);
    Py_CLEAR(state->worker_type);
    for (size_t k = 0; k < OWNGIL_SYNC_TYPES; k++) {
        Py_CLEAR(state->sync_types[k]);
    }
    Py_CLEAR(state->transfer_type);
    Py_CLEAR(state->wakeup_type);
    Py_CLEAR(state->queue_closed);
    Py_CLEAR(state->future_names);
    return 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
    {0, NULL},
};

static PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "owngil._core",
    .m_doc = "Workers, queues, blocks and private copies: what owngil does outside of Python.",
    .m_size = sizeof(owngil_state),
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
};

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&module_definition);
}

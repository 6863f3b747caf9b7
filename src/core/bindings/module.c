/* The module owngil._core: multi-phase, usable in interpreters with a GIL of their own, without static Python objects.
 *
 * All interpreters load this one file, not copies of it. So its C statics belong to the process.
 */
#include "bindings/state.h"
#include "cpython/arena_tracking.h"
#include "cpython/large_objects.h"
#include "cpython/selfcheck.h"
#include "cpython/tracemalloc_hooks.h"
#include "memory/block.h"
#include "messaging/kinds.h"
#include "workers/fork.h"
#include "workers/registry.h"

static int
add_constants(PyObject *module, owngil_state *state)
{
    state->queue_closed = PyErr_NewExceptionWithDoc(
        "owngil._core.QueueClosed", "The queue accepts no more messages, and has none left.", NULL, NULL);
    if (state->queue_closed == NULL || PyModule_AddObjectRef(module, "QueueClosed", state->queue_closed) < 0
        || PyModule_AddIntConstant(module, "START", (long)OWNGIL_TASK_START) < 0) {
        return -1;
    }
#define ADD(name) \
    if (PyModule_AddIntConstant(module, #name, OWNGIL_MESSAGE_##name) < 0) { \
        return -1; \
    }
    OWNGIL_MESSAGE_KINDS(ADD)
#undef ADD
    return 0;
}

static int
module_exec(PyObject *module)
{
    owngil_state *state = PyModule_GetState(module);
    bool is_main = PyInterpreterState_Get() == PyInterpreterState_Main();
    if ((is_main && owngil_selfcheck_run(module) < 0) || add_constants(module, state) < 0) {
        return -1;
    }
#define ADD(name) \
    if (owngil_add_##name(module, state) < 0) { \
        return -1; \
    }
    OWNGIL_ADDITIONS(ADD)
#undef ADD
    if (is_main) {
        owngil_arena_tracking_start(owngil_registry_owner_of_thread);
        if (!owngil_large_objects_install()) {
            owngil_selfcheck_do_without(
                "A closed worker leaves objects of more than 512 bytes that C code still holds: "
                "another allocator is in place (PYTHONMALLOC, tracemalloc or a package's).");
        }
        owngil_tracemalloc_hooks_prepare();
        owngil_block_configure();
        if (owngil_fork_watch() < 0) {
            return -1;
        }
    }
    return 0;
}

/* The number of Python objects that the state begins with. */
enum { OBJECTS = offsetof(owngil_state, versioned) / sizeof(PyObject *) };

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    PyObject **objects = PyModule_GetState(module);
    for (size_t k = 0; k < OBJECTS; k++) {
        Py_VISIT(objects[k]);
    }
    return 0;
}

static int
module_clear(PyObject *module)
{
    PyObject **objects = PyModule_GetState(module);
    for (size_t k = 0; k < OBJECTS; k++) {
        Py_CLEAR(objects[k]);
    }
    return 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
    {0},
};

static PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "owngil._core",
    .m_doc = "Workers, queues, blocks and private copies: the part of owngil that is written in C.",
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

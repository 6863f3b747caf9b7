/* Makes the extension module of a private copy in the calling interpreter, as CPython's import machinery would.
 *
 * CPython's own import must not make single-phase modules there: since 3.13 it runs their init function in the main
 * interpreter, so that their objects live in the wrong heap. Multi-phase modules are made from their definition. The
 * import hook has switched off CPython's check whether they support sub-interpreters. That check guards against C
 * statics that interpreters share, and a private copy has none.
 */
#include "bindings/state.h"
#include "cpython/type_versions.h"
#include "memory/numpy_allocator.h"
#include "workers/lookups.h"

#include <dlfcn.h>
#include <stdatomic.h>

/* After a function of the module has returned NULL: sets SystemError unless an exception is set. Returns NULL. */
static PyObject *
raise_returned_null(const char *symbol)
{
    if (!PyErr_Occurred()) {
        PyErr_Format(PyExc_SystemError, "%s returned NULL without an exception", symbol);
    }
    return NULL;
}

/* Indexes that CPython has given to definitions in private copies. Each worker uses each of them at most once, and all
 * workers use them in this order. */
static _Atomic Py_ssize_t indexes[1024]; /* 0: not known yet */

/* Gives the definition of a single-phase module that is not registered yet an index that an earlier worker has used, if
 * there is one. CPython counts the definitions of the process, and an interpreter's list of its registered modules is
 * as long as the largest index in there. So the lists of new workers would grow with each copy that was ever loaded. */
static void
give_index(PyModuleDef *definition, owngil_state *state)
{
    if (state->indexed < sizeof(indexes) / sizeof(indexes[0])) {
        Py_ssize_t known = 0;
        if (!atomic_compare_exchange_strong(&indexes[state->indexed++], &known, definition->m_base.m_index)) {
            definition->m_base.m_index = known;
        }
    }
}

/* create_module(handle, name, spec, made): make the extension module of a loaded copy whose init symbols end in `name`
 * (a str, with the underscore). Return (module, True) when exec_module() must follow, (module, False) when the module
 * is ready (single-phase), or a sentence that says why there is no module. Pass on an exception of the init function.
 *
 * A single-phase module is appended to the list `made` first: so it is not lost in an interrupt right after this call,
 * and its init function, which must not run again, need not. */
static PyObject *
create_module(PyObject *self, PyObject *args)
{
    unsigned long long number;
    const char *name;
    PyObject *spec, *list;
    if (!PyArg_ParseTuple(args, "KsOO!:create_module", &number, &name, &spec, &PyList_Type, &list)) {
        return NULL;
    }
    void *handle = (void *)(uintptr_t)number;

    char symbol[512];
#if OWNGIL_HAVE_MODEXPORT
    snprintf(symbol, sizeof(symbol), "PyModExport%s", name);
    PySlot *(*export)(void) = (PySlot * (*)(void)) dlsym(handle, symbol);
    if (export != NULL) {
        const PySlot *slots = export();
        return slots == NULL ? raise_returned_null(symbol)
                             : Py_BuildValue("NO", PyModule_FromSlotsAndSpec(slots, spec), Py_True);
    }
#endif
    snprintf(symbol, sizeof(symbol), "PyInit%s", name);
    PyObject *(*init)(void) = (PyObject * (*)(void)) dlsym(handle, symbol);
    if (init == NULL) {
        return PyUnicode_FromFormat("it exports no function %s", symbol);
    }

    PyObject *made = init();
    if (made == NULL) {
        return raise_returned_null(symbol);
    }
    if (Py_TYPE(made) == NULL) { /* CPython has this check too */
        return PyErr_Format(PyExc_SystemError, "%s returned a definition without PyModuleDef_Init()", symbol);
    }
    if (PyErr_Occurred()) {
        if (!PyObject_TypeCheck(made, &PyModuleDef_Type)) {
            Py_DECREF(made);
        }
        return NULL;
    }
    if (PyObject_TypeCheck(made, &PyModuleDef_Type)) {
        /* Borrowed: the definition is a static of the copy. */
        return Py_BuildValue("NO", PyModule_FromDefAndSpec((PyModuleDef *)made, spec), Py_True);
    }
    /* Single-phase: register the module, as CPython's import does, for PyState_FindModule() in its C code. */
    PyModuleDef *definition = PyModule_Check(made) ? PyModule_GetDef(made) : NULL;
    if (definition == NULL) {
        PyErr_Format(PyExc_SystemError, "%s returned an object that is no module with a definition", symbol);
        Py_DECREF(made);
        return NULL;
    }
    int failed = 0;
    if (PyState_FindModule(definition) == NULL) {
        give_index(definition, PyModule_GetState(self));
        failed = PyState_AddModule(made, definition);
    }
    if (failed < 0 || PyList_Append(list, made) < 0) {
        Py_DECREF(made);
        return NULL;
    }
    return Py_BuildValue("NO", made, Py_False);
}

/* exec_module(module): run the second phase of a module that create_module() has made. */
static PyObject *
exec_module(PyObject *Py_UNUSED(unused), PyObject *module)
{
    if (!PyModule_Check(module)) {
        /* Py_mod_create may return any object; one that is no module has no second phase. */
        Py_RETURN_NONE;
    }
#if OWNGIL_HAVE_MODEXPORT
    if (PyModule_Exec(module) < 0) {
        return NULL;
    }
#else
    PyModuleDef *definition = PyModule_GetDef(module);
    if (definition != NULL && PyModule_ExecDef(module, definition) < 0) {
        return NULL;
    }
#endif
    Py_RETURN_NONE;
}

/* use_array_memory(api): let the NumPy with that `_ARRAY_API` take the memory of its arrays from owngil's allocator, so
 * that they can be sent without a copy. */
static PyObject *
use_array_memory(PyObject *Py_UNUSED(unused), PyObject *api)
{
    return owngil_numpy_allocator_install(api) < 0 ? NULL : Py_NewRef(Py_None);
}

/* end_shared_type_versions(): keep CPython from giving two types of an interpreter the same version; see
 * type_versions.h. Call it in the main interpreter, once. */
static PyObject *
end_shared_type_versions(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    return owngil_type_versions_exhaust_shared() < 0 ? NULL : Py_NewRef(Py_None);
}

/* give_type_versions(module): give versions to the immutable types that have none: those in the module, and the types
 * of the objects in it. */
static PyObject *
give_type_versions(PyObject *Py_UNUSED(self), PyObject *module)
{
    owngil_type_versions_give(module);
    Py_RETURN_NONE;
}

/* complete_type_versions(): give versions to all immutable types of the calling interpreter that have none. Cheap if no
 * module was imported since the last call. */
static PyObject *
complete_type_versions(PyObject *module, PyObject *Py_UNUSED(unused))
{
    owngil_state *state = PyModule_GetState(module);
    return owngil_type_versions_complete(&state->versioned) < 0 ? NULL : Py_NewRef(Py_None);
}

/* guard_lookups(module): let one thread at a time call those functions of a module of the standard library that search
 * the system's lists; see lookups.h. */
static PyObject *
guard_lookups(PyObject *Py_UNUSED(self), PyObject *module)
{
    return owngil_lookups_guard(module) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef functions[] = {
    {"use_array_memory", use_array_memory, METH_O},
    {"create_module", create_module, METH_VARARGS},
    {"exec_module", exec_module, METH_O},
    {"end_shared_type_versions", end_shared_type_versions, METH_NOARGS},
    {"give_type_versions", give_type_versions, METH_O},
    {"guard_lookups", guard_lookups, METH_O},
    {"complete_type_versions", complete_type_versions, METH_NOARGS},
    {NULL},
};

OWNGIL_DEFINE_FUNCTIONS(extension_modules, functions)

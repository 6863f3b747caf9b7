/* Runs the init function of a private copy in the calling interpreter, as CPython's import machinery would.
 *
 * Single-phase modules must not go through CPython's own import there: since 3.13 it runs their init function in the
 * main interpreter, so that their objects live in the wrong heap. Multi-phase modules are made from their definition;
 * the import hook has switched off CPython's check whether they support sub-interpreters: what it guards against, C
 * statics shared between interpreters, a private copy does not have.
 */
#include "bindings/state.h"
#include "cpython/type_versions.h"
#include "memory/numpy_allocator.h"

#include <dlfcn.h>

/* Makes a module from its definition (or slots). Returns NULL with an exception. */
static PyObject *
module_from_definition(PyModuleDef *definition, const void *slots, PyObject *spec)
{
#if OWNGIL_HAVE_MODEXPORT
    if (slots != NULL) {
        return PyModule_FromSlotsAndSpec(slots, spec);
    }
#else
    (void)slots;
#endif
    return PyModule_FromDefAndSpec(definition, spec);
}

/* create_module(handle, name, spec, made): make the extension module of a loaded copy whose init symbols end in `name`
 * (a str, with the underscore). A single-phase module is appended to the list `made` first, where it survives an
 * interrupt right after this call: its init function must not run again. Return (module, True) when exec_module() must
 * follow, (module, False) when the module is ready (single-phase), or a sentence that says why it is none. What the
 * init function raises, goes on. */
static PyObject *
create_module(PyObject *Py_UNUSED(unused), PyObject *args)
{
    unsigned long long number;
    const char *name;
    PyObject *spec, *list;
    if (!PyArg_ParseTuple(args, "KsOO!:create_module", &number, &name, &spec, &PyList_Type, &list)) {
        return NULL;
    }
    void *handle = (void *)(uintptr_t)number;

    char symbol[512];
    PyObject *module;
#if OWNGIL_HAVE_MODEXPORT
    snprintf(symbol, sizeof(symbol), "PyModExport%s", name);
    PySlot *(*export)(void) = (PySlot * (*)(void)) dlsym(handle, symbol);
    if (export != NULL) {
        const PySlot *slots = export();
        if (slots == NULL) {
            if (!PyErr_Occurred()) {
                PyErr_Format(PyExc_SystemError, "%s returned NULL without an exception", symbol);
            }
            return NULL;
        }
        module = module_from_definition(NULL, slots, spec);
        return module == NULL ? NULL : Py_BuildValue("NO", module, Py_True);
    }
#endif
    snprintf(symbol, sizeof(symbol), "PyInit%s", name);
    PyObject *(*init)(void) = (PyObject * (*)(void)) dlsym(handle, symbol);
    if (init == NULL) {
        return PyUnicode_FromFormat("it exports no function %s", symbol);
    }

    PyObject *made = init();
    if (made == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_Format(PyExc_SystemError, "%s returned NULL without an exception", symbol);
        }
        return NULL;
    }
    if (Py_TYPE(made) == NULL) { /* CPython has this check too */
        PyErr_Format(PyExc_SystemError, "%s returned a definition without PyModuleDef_Init()", symbol);
        return NULL;
    }
    if (PyErr_Occurred()) {
        if (!PyObject_TypeCheck(made, &PyModuleDef_Type)) {
            Py_DECREF(made);
        }
        return NULL;
    }
    if (PyObject_TypeCheck(made, &PyModuleDef_Type)) {
        /* Borrowed: it is a static of the copy. */
        module = module_from_definition((PyModuleDef *)made, NULL, spec);
        return module == NULL ? NULL : Py_BuildValue("NO", module, Py_True);
    }
    /* Single-phase: its C code asks PyState_FindModule() for the module, which CPython's import registers. */
    PyModuleDef *definition = PyModule_Check(made) ? PyModule_GetDef(made) : NULL;
    if (definition == NULL) {
        PyErr_Format(PyExc_SystemError, "%s returned no module that is made from a definition", symbol);
        Py_DECREF(made);
        return NULL;
    }
    if ((PyState_FindModule(definition) == NULL && PyState_AddModule(made, definition) < 0)
        || PyList_Append(list, made) < 0) {
        Py_DECREF(made);
        return NULL;
    }
    return Py_BuildValue("NO", made, Py_False);
}

/* exec_module(module): run the second phase of a module that create_module() made. */
static PyObject *
exec_module(PyObject *Py_UNUSED(unused), PyObject *module)
{
    if (!PyModule_Check(module)) {
        /* Py_mod_create may return anything, which then has no second phase. */
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

/* create_checked(override, create, spec): return ``create(spec)``, a function of CPython's that makes one of its own
 * modules, with its check on whether they support sub-interpreters; `override` is what switches that check. In one C
 * call, so that other threads do not see it on. */
static PyObject *
create_checked(PyObject *Py_UNUSED(unused), PyObject *args)
{
    PyObject *override, *create, *spec;
    if (!PyArg_ParseTuple(args, "OOO:create_checked", &override, &create, &spec)) {
        return NULL;
    }
    PyObject *former = PyObject_CallFunction(override, "i", 1);
    if (former == NULL) {
        return NULL;
    }
    Py_DECREF(former);
    PyObject *module = PyObject_CallOneArg(create, spec);
    PyObject *error = PyErr_GetRaisedException();
    former = PyObject_CallFunction(override, "i", -1);
    if (former == NULL) {
        Py_CLEAR(module);
        Py_XDECREF(error);
        return NULL;
    }
    Py_DECREF(former);
    PyErr_SetRaisedException(error);
    return module;
}

/* use_array_memory(api): let the NumPy whose `_ARRAY_API` this is take the memory of its arrays from where they can be
 * handed over without a copy. */
static PyObject *
use_array_memory(PyObject *Py_UNUSED(unused), PyObject *api)
{
    return owngil_numpy_allocator_install(api) < 0 ? NULL : Py_NewRef(Py_None);
}

/* end_shared_type_versions(): keep CPython from giving two types of an interpreter one version; see type_versions.h.
 * In the main interpreter, once. */
static PyObject *
end_shared_type_versions(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    if (owngil_type_versions_end_shared() < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* give_type_versions(module): give versions to the immutable types in the module that have none, and to those of what
 * is in it. */
static PyObject *
give_type_versions(PyObject *Py_UNUSED(self), PyObject *module)
{
    owngil_type_versions_give(module);
    Py_RETURN_NONE;
}

/* complete_type_versions(): give versions to all immutable types of the calling interpreter that have none. Cheap when
 * nothing was imported since. */
static PyObject *
complete_type_versions(PyObject *module, PyObject *Py_UNUSED(unused))
{
    owngil_state *state = PyModule_GetState(module);
    if (owngil_type_versions_complete(&state->versioned) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

OWNGIL_DEFINE_FUNCTIONS(extension_modules, {"use_array_memory", use_array_memory, METH_O, NULL},
                        {"create_checked", create_checked, METH_VARARGS, NULL},
                        {"create_module", create_module, METH_VARARGS, NULL},
                        {"exec_module", exec_module, METH_O, NULL},
                        {"end_shared_type_versions", end_shared_type_versions, METH_NOARGS, NULL},
                        {"give_type_versions", give_type_versions, METH_O, NULL},
                        {"complete_type_versions", complete_type_versions, METH_NOARGS, NULL})

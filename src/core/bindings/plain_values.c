/* Writes small plain values, and calls of importable functions with such arguments, by marshal instead of pickle.
 *
 * marshal takes a third of pickle's time. It is safe here, because sender and receiver are one Python. Other values are
 * left to pickle; see owngil/_wire/message.py. All functions need the GIL.
 */
#include "bindings/args.h"
#include "bindings/state.h"

#include <marshal.h>

enum {
    FORMAT = 2,     /* of marshal: binary numbers, and no references within, which plain values do not need */
    LONGEST = 100,  /* items of a tuple or list */
    SMALL = 1000,   /* bytes at most: so few arrive as bytes, not as a Block; see owngil_parts_from_message() */
};

static bool
is_scalar(PyObject *object)
{
    if (PyUnicode_CheckExact(object)) {
        return PyUnicode_GET_LENGTH(object) <= SMALL;
    }
    if (PyBytes_CheckExact(object)) {
        return PyBytes_GET_SIZE(object) <= SMALL;
    }
    return object == Py_None || PyLong_CheckExact(object) || PyFloat_CheckExact(object) || PyBool_Check(object)
           || PyComplex_CheckExact(object);
}

static bool
is_plain(PyObject *object)
{
    if (!PyTuple_CheckExact(object) && !PyList_CheckExact(object)) {
        return is_scalar(object);
    }
    Py_ssize_t size = PySequence_Fast_GET_SIZE(object);
    bool plain = size <= LONGEST;
    for (Py_ssize_t k = 0; plain && k < size; k++) {
        plain = is_scalar(PySequence_Fast_GET_ITEM(object, k));
    }
    return plain;
}

/* Returns bytes, None if there are too many, or NULL with an exception. */
static PyObject *
write_small(PyObject *object)
{
    PyObject *bytes = PyMarshal_WriteObjectToString(object, FORMAT);
    if (bytes != NULL && PyBytes_GET_SIZE(bytes) > SMALL) {
        Py_DECREF(bytes);
        Py_RETURN_NONE;
    }
    return bytes;
}

/* Whether the user has told cloudpickle to send the functions of some module by value. Returns 1, 0, or -1 with an
 * exception. */
static int
some_module_goes_by_value(void)
{
    PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), "cloudpickle"); /* borrowed */
    if (module == NULL || !PyModule_Check(module)) {
        return 0;
    }
    Py_INCREF(module);
    PyObject *modules = PyObject_CallMethod(module, "list_registry_pickle_by_value", NULL);
    Py_DECREF(module);
    int some = modules != NULL ? PyObject_IsTrue(modules) : -1;
    Py_XDECREF(modules);
    return some;
}

/* Whether the module is being imported. Returns 1, 0, or -1 with an exception. */
static int
is_being_imported(PyObject *name)
{
    PyObject *module = PyDict_GetItemWithError(PyImport_GetModuleDict(), name); /* borrowed */
    if (module == NULL || !PyModule_Check(module)) {
        return PyErr_Occurred() ? -1 : 0;
    }
    PyObject *spec = PyDict_GetItemString(PyModule_GetDict(module), "__spec__"); /* borrowed */
    Py_XINCREF(spec);
    PyObject *value = spec != NULL ? PyObject_GetAttrString(spec, "_initializing") : NULL;
    Py_XDECREF(spec);
    if (value == NULL) {
        PyErr_Clear(); /* a module that was made by hand, perhaps */
        return 0;
    }
    int result = PyObject_IsTrue(value);
    Py_DECREF(value);
    return result;
}

/* Raises an exception if the module, or a package that it is in, is being imported: the worker would import it, too, and
 * so make the same call again, without an end. Returns 0 or -1. */
static int
check_imported(PyObject *core, PyObject *module_name)
{
    PyObject *imported = ((owngil_state *)PyModule_GetState(core))->imported;
    int known = PySet_Contains(imported, module_name);
    Py_ssize_t end = PyUnicode_GET_LENGTH(module_name);
    for (Py_ssize_t at = 0; known == 0 && at <= end; at++) {
        at = PyUnicode_FindChar(module_name, '.', at, end, 1);
        at = at >= 0 ? at : end;
        PyObject *name = PyUnicode_Substring(module_name, 0, at);
        int result = name != NULL ? is_being_imported(name) : -1;
        if (result > 0) {
            PyErr_Format(
                PyExc_RuntimeError,
                "%U cannot be sent to a worker while %U is being imported: the worker would import it, too, and "
                "make this call again, without an end. Make the call in a function, and call that when the "
                "import is over, or in the script",
                module_name, name);
        }
        Py_XDECREF(name);
        if (result != 0) {
            return -1;
        }
    }
    return known < 0 ? -1 : known > 0 ? 0 : PySet_Add(imported, module_name);
}

/* Whether the module of a function or class has just that object under its name, so that the name can be sent instead.
 * Returns 1 with new references to both names, 0, or -1 with an exception. */
static int
find_names(PyObject *object, PyObject **module_name, PyObject **name)
{
    int found = 0;
    PyObject *module = NULL;
    *name = NULL;
    *module_name = PyObject_GetAttrString(object, "__module__");
    if (*module_name != NULL && PyUnicode_CheckExact(*module_name)
        && PyUnicode_CompareWithASCIIString(*module_name, "__main__") != 0) {
        /* Not by PyImport_GetModule(), which takes time to check that the module is not being imported. */
        module = PyDict_GetItemWithError(PyImport_GetModuleDict(), *module_name);
        Py_XINCREF(module);
    }
    if (module != NULL && PyModule_Check(module)) {
        *name = PyObject_GetAttrString(object, "__qualname__");
        found = *name != NULL && PyUnicode_CheckExact(*name)
                && PyDict_GetItemWithError(PyModule_GetDict(module), *name) == object;
    }
    Py_XDECREF(module);
    if (found) {
        found = some_module_goes_by_value();
        found = found < 0 ? -1 : !found;
    }
    if (PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_Clear();
            found = 0;
        }
        else {
            found = -1;
        }
    }
    if (found <= 0) {
        Py_CLEAR(*module_name);
        Py_CLEAR(*name);
    }
    return found;
}

/* dumps_plain(obj, /): return bytes for marshal.loads(), or None if `obj` is not plain or not small. */
static PyObject *
dumps_plain(PyObject *Py_UNUSED(module), PyObject *object)
{
    return is_plain(object) ? write_small(object) : Py_NewRef(Py_None);
}

/* dumps_plain_call(fn, args, /): return bytes that marshal.loads() reads as the tuple (module, name, args), or None if
 * `fn` is no importable function or class, or if `args`, a tuple, is not plain or not small. */
static PyObject *
dumps_plain_call(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    if (owngil_args_check_count("dumps_plain_call", count, 2, 2) < 0) {
        return NULL;
    }
    PyObject *fn = arguments[0], *args = arguments[1], *module_name, *name;
    if (!(PyFunction_Check(fn) || PyCFunction_CheckExact(fn) || Py_IS_TYPE(fn, &PyType_Type)) || !is_plain(args)) {
        Py_RETURN_NONE;
    }
    int found = find_names(fn, &module_name, &name);
    if (found <= 0) {
        return found < 0 ? NULL : Py_NewRef(Py_None);
    }
    PyObject *call = check_imported(module, module_name) == 0 ? PyTuple_Pack(3, module_name, name, args) : NULL;
    Py_DECREF(module_name);
    Py_DECREF(name);
    PyObject *bytes = call != NULL ? write_small(call) : NULL;
    Py_XDECREF(call);
    return bytes;
}

/* is_importable(obj, /): return whether a receiver can import the function or class `obj`: its module, which is not
 * __main__, has it under its name, and cloudpickle does not send it by value. */
static PyObject *
is_importable(PyObject *Py_UNUSED(module), PyObject *object)
{
    PyObject *module_name, *name;
    int found = find_names(object, &module_name, &name);
    if (found > 0) {
        Py_DECREF(module_name);
        Py_DECREF(name);
    }
    return found < 0 ? NULL : PyBool_FromLong(found);
}

/* check_sendable(fn, /): raise RuntimeError if `fn` is a function or class of a module that is being imported. */
static PyObject *
check_sendable(PyObject *module, PyObject *object)
{
    PyObject *module_name, *name;
    int found = find_names(object, &module_name, &name);
    if (found > 0) {
        found = check_imported(module, module_name);
        Py_DECREF(module_name);
        Py_DECREF(name);
    }
    return found < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef functions[] = {
    {"check_sendable", check_sendable, METH_O},
    {"dumps_plain", dumps_plain, METH_O},
    {"dumps_plain_call", OWNGIL_FAST(dumps_plain_call)},
    {"is_importable", is_importable, METH_O},
    {NULL},
};

int
owngil_add_plain_values(PyObject *module, owngil_state *state)
{
    state->imported = PySet_New(NULL);
    return state->imported == NULL ? -1 : PyModule_AddFunctions(module, functions);
}

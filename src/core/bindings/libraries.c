/* Shared libraries as Python code sees them: what is in a file, and private copies of it. */
#include "bindings/state.h"
#include "loader/fork_gate.h"
#include "workers/registry.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

/* The strings of the dynamic entries with `tag`, as a new tuple of bytes. */
static PyObject *
strings_of(const owngil_image *elf, ElfW(Sxword) tag)
{
    Py_ssize_t count = 0;
    while (owngil_image_string(elf, tag, (size_t)count) != NULL) {
        count++;
    }
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t k = 0; tuple != NULL && k < count; k++) {
        PyObject *item = PyBytes_FromString(owngil_image_string(elf, tag, (size_t)k));
        if (item == NULL) {
            Py_CLEAR(tuple);
        }
        else {
            PyTuple_SET_ITEM(tuple, k, item);
        }
    }
    return tuple;
}

static PyObject *
sentence(const char *text)
{
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "backslashreplace");
}

/* read_library(path): return what the file says of itself, or a sentence that says why it cannot be loaded. A tuple:
 * SONAME, needed libraries, RUNPATH, RPATH (tuples of bytes); whether it uses Python's C API; bytes of variables;
 * whether it asks never to be unloaded. */
static PyObject *
read_library(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *path;
    if (!PyArg_ParseTuple(args, "y:read_library", &path)) {
        return NULL;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return PyUnicode_FromFormat("it cannot be read: %s", strerror(errno));
    }
    owngil_patch edit;
    PyObject *result;
    const char *damage = owngil_patch_init(&edit, fd);
    close(fd);
    if (damage != NULL) {
        result = sentence(damage);
    }
    else {
        result = Py_BuildValue("NNNNNnN", strings_of(&edit.elf, DT_SONAME), strings_of(&edit.elf, DT_NEEDED),
                               strings_of(&edit.elf, DT_RUNPATH), strings_of(&edit.elf, DT_RPATH),
                               PyBool_FromLong(owngil_image_uses_python(&edit.elf)),
                               (Py_ssize_t)owngil_image_state_size(&edit.elf), PyBool_FromLong(edit.elf.stays));
    }
    owngil_patch_clear(&edit);
    return result;
}

/* Copies the pairs of bytes in the tuple `pairs`; the strings stay the tuple's. Returns NULL with an exception. */
static owngil_rename *
renames_of(PyObject *pairs)
{
    Py_ssize_t count = PyTuple_GET_SIZE(pairs);
    owngil_rename *renames = PyMem_Calloc((size_t)count + 1, sizeof(*renames));
    if (renames == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    for (Py_ssize_t k = 0; k < count; k++) {
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(pairs, k), "yy", &renames[k].from, &renames[k].to)) {
            PyMem_Free(renames);
            return NULL;
        }
    }
    return renames;
}

static const char **
directories_of(PyObject *tuple)
{
    Py_ssize_t count = PyTuple_GET_SIZE(tuple);
    const char **directories = PyMem_Calloc((size_t)count + 1, sizeof(*directories));
    if (directories == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    for (Py_ssize_t k = 0; k < count; k++) {
        directories[k] = PyBytes_AsString(PyTuple_GET_ITEM(tuple, k));
        if (directories[k] == NULL) {
            PyMem_Free(directories);
            return NULL;
        }
    }
    return directories;
}

/* The worker whose interpreter this is, or NULL with RuntimeError set. */
static owngil_worker *
require_worker(void)
{
    owngil_worker *worker = owngil_registry_of_thread();
    if (worker == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "private copies are for workers");
    }
    return worker;
}

/* Begins to load or unload. Constructors run with the GIL, as in an import of CPython's, but nobody waits for them with it. */
static void
enter(void)
{
    while (!owngil_fork_gate_try_enter()) {
        Py_BEGIN_ALLOW_THREADS
        owngil_fork_gate_enter();
        owngil_fork_gate_leave();
        Py_END_ALLOW_THREADS
    }
}

/* reserve_copy(path, directories): begin to make a private copy of the library in the file `path` (bytes, absolute)
 * for this worker. `directories` are tried in turn when no file in memory can be made. Return (copy, name), by which
 * another copy can need this one, or a sentence that says why it cannot be loaded. */
static PyObject *
reserve_copy(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *path;
    PyObject *places;
    if (!PyArg_ParseTuple(args, "yO!:reserve_copy", &path, &PyTuple_Type, &places)) {
        return NULL;
    }
    owngil_worker *worker = require_worker();
    const char **directories = worker != NULL ? directories_of(places) : NULL;
    if (directories == NULL) {
        return NULL;
    }
    char why[2048] = "";
    enter(); /* the first one loads the shim */
    owngil_copy *copy = owngil_copies_reserve(&worker->copies, path, directories, why, sizeof(why));
    owngil_fork_gate_leave();
    PyMem_Free(directories);
    return copy == NULL ? sentence(why) : Py_BuildValue("Ky", (unsigned long long)(uintptr_t)copy, copy->loaded.name);
}

/* write_copy(copy, renames): write a reserved copy, which others that are loaded can need from now on. `renames` is a
 * tuple of pairs of bytes: where the original needs the first, the copy needs the second. Return None, or a sentence
 * that says why it cannot be loaded. */
static PyObject *
write_copy(PyObject *Py_UNUSED(module), PyObject *args)
{
    unsigned long long number;
    PyObject *pairs;
    if (!PyArg_ParseTuple(args, "KO!:write_copy", &number, &PyTuple_Type, &pairs)) {
        return NULL;
    }
    owngil_copy *copy = (owngil_copy *)(uintptr_t)number;
    owngil_worker *worker = require_worker();
    owngil_rename *renames = worker != NULL ? renames_of(pairs) : NULL;
    if (renames == NULL) {
        return NULL;
    }
    char why[2048] = "";
    size_t count = (size_t)PyTuple_GET_SIZE(pairs);
    int failed = owngil_load_write(&copy->loaded, renames, count, why, sizeof(why));
    for (size_t k = 0; k < count; k++) {
        owngil_copies_group(&worker->copies, copy, renames[k].to);
    }
    PyMem_Free(renames);
    return failed ? sentence(why) : Py_NewRef(Py_None);
}

/* load_copies(copies): load copies that were written: a tuple of those that need each other. Return None, or a
 * sentence that says why one cannot be loaded. */
static PyObject *
load_copies(PyObject *Py_UNUSED(module), PyObject *numbers)
{
    owngil_worker *worker = require_worker();
    if (worker == NULL) {
        return NULL;
    }
    if (!PyTuple_Check(numbers)) {
        PyErr_SetString(PyExc_TypeError, "load_copies() takes a tuple");
        return NULL;
    }
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(numbers); k++) {
        owngil_copy *copy = PyLong_AsVoidPtr(PyTuple_GET_ITEM(numbers, k));
        if (copy == NULL) {
            return NULL;
        }
        char why[2048] = "";
        enter();
        int failed = owngil_copies_load(&worker->copies, copy, why, sizeof(why));
        owngil_fork_gate_leave();
        if (failed < 0) {
            return sentence(why);
        }
    }
    Py_RETURN_NONE;
}

/* handle_of_copy(copy): return the dynamic loader's handle of a copy, 0 if it is not loaded. */
static PyObject *
handle_of_copy(PyObject *Py_UNUSED(module), PyObject *number)
{
    owngil_copy *copy = PyLong_AsVoidPtr(number);
    return copy == NULL ? NULL : PyLong_FromVoidPtr(copy->loaded.handle);
}

/* discard_copy(copy): forget a copy that is not loaded, and will not be. */
static PyObject *
discard_copy(PyObject *Py_UNUSED(module), PyObject *number)
{
    owngil_copy *copy = PyLong_AsVoidPtr(number);
    owngil_worker *worker = copy != NULL ? require_worker() : NULL;
    if (worker == NULL) {
        return NULL;
    }
    owngil_copies_discard(&worker->copies, copy);
    Py_RETURN_NONE;
}

static PyObject *
loader_error(void)
{
    const char *error = dlerror();
    return sentence(error != NULL ? error : "the dynamic loader gives no reason");
}

/* open_library(name, flags=os.RTLD_LAZY): load a library that all interpreters share, by path or as the dynamic loader
 * finds it; None is the program itself. Return (handle, path), or a sentence that says why it cannot be loaded.
 * `flags` are those of dlopen(). */
static PyObject *
open_library(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *object;
    int flags = RTLD_LAZY | RTLD_LOCAL;
    if (!PyArg_ParseTuple(args, "O|i:open_library", &object, &flags)) {
        return NULL;
    }
    char *name = NULL;
    if (object != Py_None && PyBytes_AsStringAndSize(object, &name, NULL) < 0) { /* nor has it a zero byte */
        return NULL;
    }
    enter();
    void *handle = owngil_fork_gate_open(name, flags);
    owngil_fork_gate_leave();
    struct link_map *map;
    if (handle == NULL || dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0) {
        return loader_error();
    }
    return Py_BuildValue("Ky", (unsigned long long)(uintptr_t)handle, map->l_name);
}

/* close_library(handle): undo one open_library(). Return None, or a sentence that says why it cannot be closed. */
static PyObject *
close_library(PyObject *Py_UNUSED(module), PyObject *number)
{
    void *handle = PyLong_AsVoidPtr(number);
    if (handle == NULL && PyErr_Occurred()) {
        return NULL;
    }
    enter();
    int failed = owngil_fork_gate_close(handle);
    owngil_fork_gate_leave();
    return failed ? loader_error() : Py_NewRef(Py_None);
}

/* set_threads(address, number): call a library's function void f(int), by which it may start threads, so that no fork
 * catches it in the middle. */
static PyObject *
set_threads(PyObject *Py_UNUSED(module), PyObject *args)
{
    unsigned long long address;
    int number;
    if (!PyArg_ParseTuple(args, "Ki:set_threads", &address, &number)) {
        return NULL;
    }
    void (*set)(int) = (void (*)(int))(uintptr_t)address;
    Py_BEGIN_ALLOW_THREADS
    owngil_fork_gate_enter();
    set(number);
    owngil_fork_gate_leave();
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

OWNGIL_DEFINE_FUNCTIONS(libraries, {"read_library", read_library, METH_VARARGS, NULL},
                        {"reserve_copy", reserve_copy, METH_VARARGS, NULL},
                        {"write_copy", write_copy, METH_VARARGS, NULL}, {"load_copies", load_copies, METH_O, NULL},
                        {"handle_of_copy", handle_of_copy, METH_O, NULL}, {"discard_copy", discard_copy, METH_O, NULL},
                        {"open_library", open_library, METH_VARARGS, NULL},
                        {"close_library", close_library, METH_O, NULL},
                        {"set_threads", set_threads, METH_VARARGS, NULL})

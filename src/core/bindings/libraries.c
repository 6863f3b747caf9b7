/* Functions for shared libraries: facts in a file, private copies of it, and libraries that all interpreters share. */
#include "bindings/args.h"
#include "bindings/state.h"
#include "loader/fork_gate.h"
#include "workers/registry.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

/* Returns the string of the dynamic entry `tag` as a new tuple of bytes, which is empty if there is none; or NULL with an
 * exception. */
static PyObject *
string_of(const owngil_image *elf, ElfW(Sxword) tag)
{
    const char *string = owngil_image_string(elf, tag);
    return string != NULL ? Py_BuildValue("(y)", string) : PyTuple_New(0);
}

/* Returns the names of the needed libraries as a new tuple of bytes, or NULL with an exception. */
static PyObject *
needed_of(const owngil_image *elf)
{
    Py_ssize_t count = 0;
    for (size_t k = 0; owngil_image_needed(elf, &k) != NULL;) {
        count++;
    }
    PyObject *tuple = PyTuple_New(count);
    size_t k = 0;
    for (Py_ssize_t n = 0; tuple != NULL && n < count; n++) {
        PyObject *item = PyBytes_FromString(owngil_image_needed(elf, &k));
        PyTuple_SET_ITEM(tuple, n, item);
        if (item == NULL) {
            Py_CLEAR(tuple);
        }
    }
    return tuple;
}

/* Returns a sentence of the loader as a str; it may have bytes of paths, which are not always UTF-8. */
static PyObject *
str_of_sentence(const char *text)
{
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "backslashreplace");
}

/* read_library(path): return a tuple of the facts in the file, or a sentence that says why it cannot be loaded. The
 * facts: SONAME, needed libraries, RUNPATH, RPATH (tuples of bytes); whether it uses Python's C API; bytes of
 * variables; whether it asks never to be unloaded. */
static PyObject *
read_library(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *path;
    if (!PyArg_ParseTuple(args, "O&:read_library", owngil_args_bytes, &path)) {
        return NULL;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return PyUnicode_FromFormat("it cannot be read: %s", strerror(errno));
    }
    owngil_patch patch;
    PyObject *result;
    const char *why = owngil_patch_init(&patch, fd);
    close(fd);
    if (why != NULL) {
        result = str_of_sentence(why);
    }
    else {
        const owngil_image *elf = &patch.elf;
        result = Py_BuildValue("NNNNNnN", string_of(elf, DT_SONAME), needed_of(elf), string_of(elf, DT_RUNPATH),
                               string_of(elf, DT_RPATH), PyBool_FromLong(owngil_image_uses_python(elf)),
                               (Py_ssize_t)owngil_image_state_size(elf), PyBool_FromLong(elf->no_delete));
    }
    owngil_patch_clear(&patch);
    return result;
}

/* Returns a new array of the pairs of bytes in the tuple `pairs`, or NULL with an exception. The strings are borrowed.
 * The caller calls PyMem_Free(). */
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
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(pairs, k), "O&O&", owngil_args_bytes, &renames[k].from,
                              owngil_args_bytes, &renames[k].to)) {
            PyMem_Free(renames);
            return NULL;
        }
    }
    return renames;
}

/* Returns a new array of the bytes in the tuple, which ends in NULL, or NULL with an exception. The strings are
 * borrowed. The caller calls PyMem_Free(). */
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

/* Returns the worker whose interpreter this is, or NULL with RuntimeError set. */
static owngil_worker *
require_worker(void)
{
    owngil_worker *worker = owngil_registry_of_thread();
    if (worker == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "only a worker has private copies");
    }
    return worker;
}

/* Returns the copy that reserve_copy() called `number`, or NULL with ValueError set: the worker has none of that number,
 * or no longer. */
static owngil_copy *
copy_of(owngil_worker *worker, PyObject *number)
{
    uintptr_t address = (uintptr_t)PyLong_AsVoidPtr(number);
    if (PyErr_Occurred()) {
        return NULL;
    }
    owngil_copy *copy = owngil_copies_find(&worker->copies, address);
    if (copy == NULL) {
        PyErr_Format(PyExc_ValueError, "the worker has no copy %S", number);
    }
    return copy;
}

/* Enters the section in which libraries are loaded and unloaded. Constructors run there with the GIL, as when CPython
 * imports a module. But while this waits to enter, it has released the GIL. */
static void
enter_fork_gate(void)
{
    while (!owngil_fork_gate_try_enter()) {
        Py_BEGIN_ALLOW_THREADS
        owngil_fork_gate_enter();
        owngil_fork_gate_leave();
        Py_END_ALLOW_THREADS
    }
}

/* reserve_copy(path, directories): begin to make a private copy of the library in the file `path` (bytes, absolute) for
 * this worker. If no file in memory can be made, try `directories` in turn. Return (copy, name), where another copy can
 * need this one by its name; or a sentence that says why it cannot be loaded. */
static PyObject *
reserve_copy(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *path;
    PyObject *places;
    if (!PyArg_ParseTuple(args, "O&O!:reserve_copy", owngil_args_bytes, &path, &PyTuple_Type, &places)) {
        return NULL;
    }
    owngil_worker *worker = require_worker();
    const char **directories = worker != NULL ? directories_of(places) : NULL;
    if (directories == NULL) {
        return NULL;
    }
    char why[2048] = "";
    enter_fork_gate(); /* the first copy loads the shim */
    owngil_copy *copy = owngil_copies_reserve(&worker->copies, path, directories, why, sizeof(why));
    owngil_fork_gate_leave();
    PyMem_Free(directories);
    return copy == NULL ? str_of_sentence(why)
                        : Py_BuildValue("Ky", (unsigned long long)(uintptr_t)copy, copy->loaded.name);
}

/* write_copy(copy, renames): write a reserved copy. From now on, other copies that need it can be loaded. `renames` is
 * a tuple of pairs of bytes: where the original needs the first library, the copy needs the second. Return None, or a
 * sentence that says why the copy cannot be loaded. */
static PyObject *
write_copy(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *number, *pairs;
    if (!PyArg_ParseTuple(args, "OO!:write_copy", &number, &PyTuple_Type, &pairs)) {
        return NULL;
    }
    owngil_worker *worker = require_worker();
    owngil_copy *copy = worker != NULL ? copy_of(worker, number) : NULL;
    owngil_rename *renames = copy != NULL ? renames_of(pairs) : NULL;
    if (renames == NULL) {
        return NULL;
    }
    char why[2048] = "";
    size_t count = (size_t)PyTuple_GET_SIZE(pairs);
    enter_fork_gate();
    int failed = owngil_load_write(&copy->loaded, renames, count, why, sizeof(why));
    owngil_fork_gate_leave();
    for (size_t k = 0; k < count; k++) {
        owngil_copies_group(&worker->copies, copy, renames[k].to);
    }
    PyMem_Free(renames);
    return failed ? str_of_sentence(why) : Py_NewRef(Py_None);
}

/* load_copies(copies): load written copies: a tuple of copies that need each other. Return None, or a sentence that
 * says why one of them cannot be loaded. */
static PyObject *
load_copies(PyObject *Py_UNUSED(module), PyObject *numbers)
{
    owngil_worker *worker = require_worker();
    if (worker == NULL) {
        return NULL;
    }
    if (!PyTuple_Check(numbers)) {
        return PyErr_Format(PyExc_TypeError, "load_copies() takes a tuple");
    }
    size_t count = (size_t)PyTuple_GET_SIZE(numbers);
    owngil_copy **copies = PyMem_Calloc(count + 1, sizeof(*copies));
    if (copies == NULL) {
        return PyErr_NoMemory();
    }
    for (size_t k = 0; k < count; k++) {
        copies[k] = copy_of(worker, PyTuple_GET_ITEM(numbers, (Py_ssize_t)k));
        if (copies[k] == NULL) {
            PyMem_Free(copies);
            return NULL;
        }
    }
    char why[2048] = "";
    enter_fork_gate();
    int failed = owngil_copies_load(&worker->copies, copies, count, why, sizeof(why));
    owngil_fork_gate_leave();
    PyMem_Free(copies);
    return failed < 0 ? str_of_sentence(why) : Py_NewRef(Py_None);
}

/* handle_of_copy(copy): return the dynamic loader's handle of a copy; 0 if it is not loaded. */
static PyObject *
handle_of_copy(PyObject *Py_UNUSED(module), PyObject *number)
{
    owngil_worker *worker = require_worker();
    const owngil_copy *copy = worker != NULL ? copy_of(worker, number) : NULL;
    return copy == NULL ? NULL : PyLong_FromVoidPtr(copy->loaded.handle);
}

/* discard_copy(copy): forget a copy that is not loaded and will not be. */
static PyObject *
discard_copy(PyObject *Py_UNUSED(module), PyObject *number)
{
    owngil_worker *worker = require_worker();
    owngil_copy *copy = worker != NULL ? copy_of(worker, number) : NULL;
    if (copy == NULL) {
        return NULL;
    }
    owngil_copies_discard(&worker->copies, copy);
    Py_RETURN_NONE;
}

/* Returns the dynamic loader's reason for its last failure, as a str. */
static PyObject *
loader_error(void)
{
    const char *error = dlerror();
    return str_of_sentence(error != NULL ? error : "the dynamic loader gives no reason");
}

/* As dlclose(). Needs the GIL. */
static int
close_handle(void *handle)
{
    enter_fork_gate();
    int failed = owngil_fork_gate_close(handle);
    owngil_fork_gate_leave();
    return failed;
}

/* open_library(name, flags=os.RTLD_LAZY): load a library that all interpreters share. `name` is a path, a name that the
 * dynamic loader looks for, or None for the program itself; `flags` are those of dlopen(). Return (handle, path), or a
 * sentence that says why the library cannot be loaded. */
static PyObject *
open_library(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *object;
    int flags = RTLD_LAZY | RTLD_LOCAL;
    if (!PyArg_ParseTuple(args, "O|i:open_library", &object, &flags)) {
        return NULL;
    }
    char *name = NULL;
    if (object != Py_None && PyBytes_AsStringAndSize(object, &name, NULL) < 0) { /* this refuses zero bytes too */
        return NULL;
    }
    enter_fork_gate();
    void *handle = owngil_fork_gate_open(name, flags);
    owngil_fork_gate_leave();
    struct link_map *map;
    if (handle == NULL) {
        return loader_error();
    }
    if (dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0) {
        PyObject *why = loader_error();
        close_handle(handle);
        return why;
    }
    return Py_BuildValue("Ky", (unsigned long long)(uintptr_t)handle, map->l_name);
}

/* close_library(handle): undo one open_library(). Return None, or a sentence that says why the library cannot be
 * closed. */
static PyObject *
close_library(PyObject *Py_UNUSED(module), PyObject *number)
{
    void *handle = PyLong_AsVoidPtr(number);
    if (handle == NULL) { /* dlclose() would crash */
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "0 is no handle of a library");
    }
    return close_handle(handle) ? loader_error() : Py_NewRef(Py_None);
}

/* set_threads(address, number): call the function void f(int) of a library, which sets its number of threads and may
 * start some. No fork can come in the middle of the call. */
static PyObject *
set_threads(PyObject *Py_UNUSED(module), PyObject *args)
{
    unsigned long long address;
    int number;
    if (!PyArg_ParseTuple(args, "Ki:set_threads", &address, &number)) {
        return NULL;
    }
    void (*set_number)(int) = (void (*)(int))(uintptr_t)address;
    Py_BEGIN_ALLOW_THREADS
    owngil_fork_gate_enter();
    set_number(number);
    owngil_fork_gate_leave();
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"read_library", read_library, METH_VARARGS}, {"reserve_copy", reserve_copy, METH_VARARGS},
    {"write_copy", write_copy, METH_VARARGS},     {"load_copies", load_copies, METH_O},
    {"handle_of_copy", handle_of_copy, METH_O},   {"discard_copy", discard_copy, METH_O},
    {"open_library", open_library, METH_VARARGS}, {"close_library", close_library, METH_O},
    {"set_threads", set_threads, METH_VARARGS},   {NULL},
};

OWNGIL_DEFINE_FUNCTIONS(libraries, functions)

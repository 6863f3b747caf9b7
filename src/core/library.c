/* Shared libraries as Python code sees them: what is in a file, and private copies of it. */
#include "interp.h"
#include "module.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* The strings of the dynamic entries with `tag`, as a new tuple of bytes. */
static PyObject *
strings_of(const owngil_elf *elf, ElfW(Sxword) tag)
{
    Py_ssize_t count = 0;
    while (owngil_elf_string(elf, tag, (size_t)count) != NULL) {
        count++;
    }
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t k = 0; tuple != NULL && k < count; k++) {
        PyObject *item = PyBytes_FromString(owngil_elf_string(elf, tag, (size_t)k));
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

PyDoc_STRVAR(read_library_doc,
"read_library(path)\n--\n\n"
"Return what the file says of itself, or a sentence that says why it cannot be loaded.\n\n"
"A tuple: SONAME, needed libraries, RUNPATH, RPATH (tuples of bytes); whether it uses Python's C API; bytes of\n"
"variables; whether it asks never to be unloaded.");

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
    owngil_edit edit;
    PyObject *result;
    const char *damage = owngil_edit_init(&edit, fd);
    close(fd);
    if (damage != NULL) {
        result = sentence(damage);
    }
    else {
        result = Py_BuildValue("NNNNNnN", strings_of(&edit.elf, DT_SONAME), strings_of(&edit.elf, DT_NEEDED),
                               strings_of(&edit.elf, DT_RUNPATH), strings_of(&edit.elf, DT_RPATH),
                               PyBool_FromLong(owngil_elf_uses_python(&edit.elf)),
                               (Py_ssize_t)owngil_elf_state_size(&edit.elf), PyBool_FromLong(edit.elf.stays));
    }
    owngil_edit_clear(&edit);
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

PyDoc_STRVAR(load_copy_doc,
"load_copy(path, renames, directories)\n--\n\n"
"Load a private copy of the library in the file `path` (bytes) for this worker.\n\n"
"`renames` is a tuple of pairs of bytes: where the original needs the first, the copy needs the second. `directories`\n"
"are tried in turn when no file in memory can be made. Return (handle, name), by which another copy can need this one,\n"
"or a sentence that says why it cannot be loaded.");

static PyObject *
load_copy(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *path;
    PyObject *pairs, *places;
    if (!PyArg_ParseTuple(args, "yO!O!:load_copy", &path, &PyTuple_Type, &pairs, &PyTuple_Type, &places)) {
        return NULL;
    }
    owngil_worker *worker = owngil_interp_of_thread();
    if (worker == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "private copies are for workers");
        return NULL;
    }
    PyObject *result = NULL;
    owngil_rename *renames = renames_of(pairs);
    const char **directories = renames != NULL ? directories_of(places) : NULL;
    if (directories != NULL) {
        char why[2048] = "";
        owngil_load_request request = {.path = path, .renames = renames,
                                       .rename_count = (size_t)PyTuple_GET_SIZE(pairs), .directories = directories};
        owngil_copy *copy = owngil_copies_load(&worker->copies, worker, &request, why, sizeof(why));
        result = copy == NULL
                     ? sentence(why)
                     : Py_BuildValue("Ky", (unsigned long long)(uintptr_t)copy->loaded.handle, copy->loaded.name);
    }
    PyMem_Free(directories);
    PyMem_Free(renames);
    return result;
}

PyDoc_STRVAR(open_library_doc,
"open_library(name)\n--\n\n"
"Load a library that all interpreters share, by path or as the dynamic loader finds it. Return (handle, path), or a\n"
"sentence that says why it cannot be loaded.");

static PyObject *
open_library(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *name;
    if (!PyArg_ParseTuple(args, "y:open_library", &name)) {
        return NULL;
    }
    void *handle = dlopen(name, RTLD_LAZY | RTLD_LOCAL);
    struct link_map *map;
    if (handle == NULL || dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0) {
        const char *error = dlerror();
        return sentence(error != NULL ? error : "the dynamic loader gives no reason");
    }
    return Py_BuildValue("Ky", (unsigned long long)(uintptr_t)handle, map->l_name);
}

PyDoc_STRVAR(close_library_doc,
"close_library(handle)\n--\n\n"
"Undo one open_library().");

static PyObject *
close_library(PyObject *Py_UNUSED(module), PyObject *number)
{
    void *handle = PyLong_AsVoidPtr(number);
    if (handle == NULL && PyErr_Occurred()) {
        return NULL;
    }
    dlclose(handle);
    Py_RETURN_NONE;
}

PyMethodDef owngil_library_functions[] = {
    {"read_library", read_library, METH_VARARGS, read_library_doc},
    {"load_copy", load_copy, METH_VARARGS, load_copy_doc},
    {"open_library", open_library, METH_VARARGS, open_library_doc},
    {"close_library", close_library, METH_O, close_library_doc},
    {NULL, NULL, 0, NULL},
};

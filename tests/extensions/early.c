/* A module whose init function makes objects and keeps them, as binding generators do for their registries. */
#include <Python.h>

static PyObject *kept;

/* Reads all objects. */
int
count_kept(void)
{
    int count = 0;
    for (Py_ssize_t k = 0; k < PyList_GET_SIZE(kept); k++) {
        count += PyTuple_GET_SIZE(PyList_GET_ITEM(kept, k)) == 1 && Py_REFCNT(PyList_GET_ITEM(kept, k)) == 1;
    }
    return count;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
    {0, NULL},
};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "early", NULL, 0, NULL, slots, NULL, NULL, NULL};

PyMODINIT_FUNC
PyInit_early(void)
{
    if (kept == NULL) {
        kept = PyList_New(0);
    }
    for (int k = 0; kept != NULL && k < 60000; k++) {
        PyObject *item = Py_BuildValue("(i)", k + 100000);
        if (item == NULL || PyList_Append(kept, item) < 0) {
            return NULL;
        }
        Py_DECREF(item);
    }
    return PyModuleDef_Init(&definition);
}

/* A module whose function answer() depends on every part of its file that a loader must get right. -DNAME=x: the
 * module's name. -DSINGLE_PHASE: single-phase init. -DLIBRARY=y: it calls y_bump() of a library. -DFAR: it has segments
 * that are far apart. */
#include <Python.h>

#include <pthread.h>

#define STR_(x) #x
#define STR(x) STR_(x)
#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)

static int
twice(int x)
{
    return 2 * x;
}

static int
next(int x)
{
    return x + 1;
}

static int (*functions[])(int) = {twice, next, twice, twice, next, next, twice}; /* relative relocations */
static PyObject **exceptions[] = {&PyExc_ValueError, &PyExc_KeyError}; /* absolute ones */
static const char *const words[] = {"one", "two", "three"}; /* read-only once relocated */
static __thread int own = 5;
static int begun;
int exported = 3;

#ifdef FAR
__attribute__((section("far_code"))) int
far_away(int x)
{
    return x ^ 0x55;
}

__attribute__((section("far_data"))) int far_number = 11;
#endif

#ifdef LIBRARY
long CAT(LIBRARY, _bump)(void);
#endif

__attribute__((constructor)) static void
begin(void)
{
    begun += exported;
}

__attribute__((destructor)) static void
end(void)
{
    begun = 0;
}

static PyObject *
answer(PyObject *self, PyObject *unused)
{
    int x = exported;
    for (size_t k = 0; k < sizeof(functions) / sizeof(functions[0]); k++) {
        x = functions[k](x);
    }
    pthread_key_t key; /* owngil puts a function of its own here */
    if (pthread_key_create(&key, NULL) == 0) {
        pthread_key_delete(key);
    }
    PyGILState_STATE state = PyGILState_Ensure();
    PyGILState_Release(state);
    long other = 0;
#ifdef LIBRARY
    other = CAT(LIBRARY, _bump)();
#endif
#ifdef FAR
    other += far_away(far_number);
#endif
    return Py_BuildValue("iiilsss(OO)", x, begun, own++, other, words[0], words[1], words[2], *exceptions[0],
                         *exceptions[1]);
}

static PyMethodDef methods[] = {
    {"answer", answer, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

#ifdef SINGLE_PHASE
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, STR(NAME), NULL, -1, methods};
#else
static PyModuleDef_Slot slots[] = {{0, NULL}};
static PyModuleDef definition = {PyModuleDef_HEAD_INIT, STR(NAME), NULL, 0, methods, slots};
#endif

PyMODINIT_FUNC
CAT(PyInit_, NAME)(void)
{
#ifdef SINGLE_PHASE
    return PyModule_Create(&definition);
#else
    return PyModuleDef_Init(&definition);
#endif
}

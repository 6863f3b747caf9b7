/* A library in a circle of two. -DNAME=x, -DOTHER=y: its constructor sets sys.x to the file of the function that the other
 * library, y, refers to as PyGILState_Check(). -DADDEND: it has an address in that function, which is not redirected. */
#include <Python.h>
#include <dlfcn.h>

#define STR_(x) #x
#define STR(x) STR_(x)
#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)

#ifdef ADDEND
__attribute__((used)) static char *inside = (char *)PyGILState_Check + 8;
#endif

const void *CAT(OTHER, _reference)(void);

const void *
CAT(NAME, _reference)(void)
{
    return (const void *)PyGILState_Check;
}

__attribute__((constructor)) static void
tell(void)
{
    Dl_info found;
    const char *file = dladdr(CAT(OTHER, _reference)(), &found) != 0 ? found.dli_fname : "";
    PyObject *name = PyUnicode_DecodeFSDefault(file);
    PySys_SetObject(STR(NAME), name);
    Py_XDECREF(name);
}

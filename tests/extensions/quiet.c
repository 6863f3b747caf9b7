/* A library that exports nothing. Its constructor sets sys.quiet to the files of three functions that it refers to:
 * pthread_create(), PyGILState_Ensure() and PyGILState_Check(). -DEXPORT_CHECK: it has and exports the third itself.
 * -DADDEND: it has an address in the third function. -DSIZE: it asks for the size of the third function. */
#include <Python.h>
#include <dlfcn.h>
#include <pthread.h>

#ifdef EXPORT_CHECK
__attribute__((visibility("default"))) int
PyGILState_Check(void)
{
    return 5;
}
#endif

#ifdef ADDEND
__attribute__((used)) static char *inside = (char *)PyGILState_Check + 8;
#endif

#ifdef SIZE
__asm__(".data\n.balign 8\n.quad PyGILState_Check@SIZE\n.text\n");
#endif

static const char *
file_of(const void *function)
{
    Dl_info found;
    return dladdr(function, &found) != 0 ? found.dli_fname : "";
}

__attribute__((constructor)) static void
tell(void)
{
    PyObject *files =
        Py_BuildValue("(sss)", file_of((const void *)pthread_create), file_of((const void *)PyGILState_Ensure),
                      file_of((const void *)PyGILState_Check));
    PySys_SetObject("quiet", files);
    Py_XDECREF(files);
}

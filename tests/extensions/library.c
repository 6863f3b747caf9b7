/* A library without a module. -DNAME=x: its function is x_bump(). -DSTATE=n: it counts, and has n bytes of variables
 * besides. -DNEEDS=y: it calls y_bump(). -DUSES_PYTHON: it uses a symbol of Python's C API. */
#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)

#ifdef USES_PYTHON
#  include <Python.h>
#endif

#ifdef NEEDS
long CAT(NEEDS, _bump)(void);
#endif

#ifdef STATE
static long count;
char CAT(NAME, _room)[STATE + 1];
#endif

long
CAT(NAME, _bump)(void)
{
#ifdef USES_PYTHON
    if (!PyGILState_Check()) {
        return -1;
    }
#endif
#ifdef STATE
    return __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED); /* a shared library counts for all workers */
#elif defined(NEEDS)
    return CAT(NEEDS, _bump)();
#else
    return 7;
#endif
}

#ifdef NEEDS
long
CAT(NAME, _bump_other)(void)
{
    return CAT(NEEDS, _bump)();
}
#endif

%module by_swig

%{
static long count = 0;

static long
bump(void)
{
    return ++count;
}

static PyObject *
apply(PyObject *f, PyObject *x)
{
    return PyObject_CallOneArg(f, x);
}

static void
fail(void)
{
    PyErr_SetString(PyExc_ValueError, "refused");
}

static double
total(const double *items, size_t size)
{
    double sum = 0;
    for (size_t i = 0; i < size; i++) {
        sum += items[i];
    }
    return sum;
}
%}

/* An array comes in through the buffer protocol. */
%typemap(in) (const double *items, size_t size) (Py_buffer view = {0}) {
    if (PyObject_GetBuffer($input, &view, PyBUF_CONTIG_RO) < 0) {
        SWIG_fail;
    }
    $1 = (double *)view.buf;
    $2 = view.len / sizeof(double);
}
%typemap(freearg) (const double *items, size_t size) {
    PyBuffer_Release(&view$argnum);
}
%exception fail {
    $action
    SWIG_fail;
}

long bump(void);
PyObject *apply(PyObject *f, PyObject *x);
void fail(void);
double total(const double *items, size_t size);

# cython: language_level=3
cdef long count = 0


def bump():
    global count
    count += 1
    return count


def apply(f, x):
    return f(x)


def fail():
    raise ValueError("refused")


def total(const double[:] array):
    cdef double sum = 0
    cdef Py_ssize_t i
    for i in range(array.shape[0]):
        sum += array[i]
    return sum

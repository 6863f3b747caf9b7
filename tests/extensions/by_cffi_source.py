"""by_cffi_source.py OUTPUT.c: write the C file of the module _by_cffi."""

import sys

import cffi

ffi = cffi.FFI()
ffi.cdef("""
    long bump(void);
    double total(const double *items, size_t size);
    void apply(void *handle);
    extern "Python" void call_back(void *handle);
""")
ffi.set_source(
    "_by_cffi",
    """
    static void call_back(void *handle);
    static long count = 0;
    static long bump(void) { return ++count; }
    static void apply(void *handle) { call_back(handle); }
    static double total(const double *items, size_t size)
    {
        double sum = 0;
        for (size_t i = 0; i < size; i++) sum += items[i];
        return sum;
    }
    """,
)
ffi.emit_c_code(sys.argv[1])

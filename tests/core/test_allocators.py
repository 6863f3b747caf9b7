"""The hooks before CPython's allocators."""


def test_hooks_work_with_the_context_from_before(ends_cleanly):
    """CPython has no lock for its allocators: a thread of another interpreter may call a hook with the old context."""
    out = ends_cleanly("""
        import ctypes, os
        os.environ.pop("PYTHONMALLOC", None)  # with it there are no hooks for large objects
        WORDS = ctypes.c_void_p * 5

        def allocators():
            found = [WORDS(), WORDS(), WORDS()]
            ctypes.pythonapi.PyMem_GetAllocator(1, found[0])
            ctypes.pythonapi.PyMem_GetAllocator(2, found[1])
            ctypes.pythonapi.PyObject_GetArenaAllocator(found[2])
            return [(words[0], words[1]) for words in found]

        before = allocators()
        import owngil
        for (context, function), (now, hook) in zip(before, allocators(), strict=True):
            print(hook != function, now == context)
        """)
    assert set(out.splitlines()) == {"True True"}

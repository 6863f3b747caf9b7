"""Helpers between C and Python, and small containers."""

from checks_registry import check


@check("cffi")
def check_cffi():
    import cffi

    ffi = cffi.FFI()
    ffi.cdef(
        """
        typedef struct { int n; double x[3]; } part;
        size_t strlen(const char *);
        void qsort(void *, size_t, size_t, int (*)(const void *, const void *));
        """
    )
    library = ffi.dlopen(None)

    @ffi.callback("int(const void *, const void *)")
    def compare(a, b):
        return ffi.cast("int *", a)[0] - ffi.cast("int *", b)[0]

    numbers = ffi.new("int[]", [3, 1, 2, -5])
    library.qsort(numbers, 4, ffi.sizeof("int"), compare)
    part = ffi.new("part *", {"n": 4, "x": [0.5, 1.5]})
    released = []
    owner = ffi.gc(ffi.new("char[4]"), lambda pointer: released.append(len(pointer)))
    ffi.memmove(owner, b"abc", 3)
    text = ffi.string(owner)
    ffi.release(owner)
    handle = ffi.new_handle(released)
    try:
        ffi.new("char *", 5)
    except TypeError as error:
        message = str(error)
    return {
        "length": library.strlen(b"owngil"),
        "sorted": list(numbers),
        "struct": (part.n, list(part.x), ffi.sizeof("part"), ffi.offsetof("part", "x")),
        "buffer": bytes(ffi.buffer(part))[:4],
        "text": (text, ffi.from_handle(handle) is released),
        "type": ffi.typeof(part).cname,
        "error": message,
    }


@check("wrapt")
def check_wrapt():
    import wrapt

    calls = []

    @wrapt.decorator
    def counted(wrapped, instance, args, kwargs):
        calls.append((wrapped.__name__, type(instance).__name__, args, kwargs))
        return wrapped(*args, **kwargs)

    class Adder:
        @counted
        def add(self, a, b=1):
            return a + b

        @counted
        @classmethod
        def named(cls):
            return cls.__name__

    class Loud(wrapt.ObjectProxy):
        def __getitem__(self, item):
            return str(self.__wrapped__[item]).upper()

    proxy = Loud(["a", "b"])
    proxy += ["c"]
    return {
        "results": (Adder().add(1, b=5), Adder.named(), counted(lambda x: x * 2)(4)),
        "calls": calls,
        "proxy": (proxy[2], len(proxy), isinstance(proxy, list), list(reversed(proxy))),
        "compiled": wrapt.ObjectProxy.__mro__[-2].__module__,
        "partial": wrapt.PartialCallableObjectProxy(divmod, 17)(5),
    }


@check("frozenlist")
def check_frozenlist():
    from frozenlist import FrozenList

    part = FrozenList([1, 2])
    part.append(3)
    part[0:1] = [7, 8]
    part.freeze()
    try:
        part.append(4)
    except RuntimeError as error:
        message = str(error)
    return list(part), part.frozen, part == [7, 8, 2, 3], message


@check("propcache")
def check_propcache():
    from propcache.api import cached_property, under_cached_property

    class Cached:
        def __init__(self):
            self._cache = {}
            self.calls = 0

        @cached_property
        def one(self):
            self.calls += 1
            return self.calls

        @under_cached_property
        def two(self):
            self.calls += 1
            return -self.calls

    item = Cached()
    values = [item.one, item.two, item.one, item.two, item._cache["two"]]
    try:
        item.two = 5
    except AttributeError as error:
        message = str(error)
    return values, type(Cached.__dict__["one"]).__module__, message

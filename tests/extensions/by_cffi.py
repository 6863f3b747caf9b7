"""A package with a cffi module in API mode: `lib` and `ffi` with some Python around them."""

from _by_cffi import ffi, lib


def bump():
    return lib.bump()


@ffi.def_extern()
def call_back(handle):
    call = ffi.from_handle(handle)
    try:
        call["result"] = call["f"](call["x"])
    except BaseException as error:  # C code in between cannot pass an exception on
        call["error"] = error


def apply(f, x):
    call = {"f": f, "x": x}
    handle = ffi.new_handle(call)
    lib.apply(handle)
    if "error" in call:
        raise call["error"]
    return call["result"]


def total(array):
    return lib.total(ffi.from_buffer("double[]", array), len(array))

"""Functions for the workers of test_libraries.py, in a module of their own so that workers need not import pytest."""

import ctypes
import importlib


def use(package, times, name="use"):
    module = importlib.import_module(f"{package}.{name}")
    return [module.bump() for _ in range(times)], module.address(), module.path()


def open_by_ctypes(path, kind, times):
    library = getattr(ctypes, kind)(path)
    again = ctypes.CDLL(path)
    counts = [library.opened_bump() for _ in range(times)]
    return counts + [again.opened_bump()], library._handle == again._handle

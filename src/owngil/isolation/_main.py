"""What the main interpreter does so that workers can live beside it."""

import importlib

from owngil import _core
from owngil.isolation._policy import IMPORT_FIRST
from owngil.isolation._type_versions import complete_type_versions

__all__ = ["prepare_main"]

_prepared = False


def prepare_main() -> None:
    """Do what must be done before the first worker starts, or after imports; cheap when it is done."""
    global _prepared
    if not _prepared:
        for name in IMPORT_FIRST:
            importlib.import_module(name)
        if _core.in_main_interpreter():
            _core.protect_immortals()
            _core.end_shared_type_versions()
        _prepared = True
    complete_type_versions()

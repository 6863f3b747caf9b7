"""Output files that are there whole or not at all."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from owngil.cli.errors import InputError

__all__ = ["check_writable", "write_file"]


def check_writable(path: Path) -> None:
    """Raise InputError unless a file can be made at `path`."""
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a file")
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}."):
            pass
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None


def write_file(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call `write` with a temporary file beside `path` and, when it is complete, give that its name."""
    descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with open(descriptor, "wb") as file:
            write(file)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(part, 0o666 & ~mask)  # mkstemp's are the owner's alone
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise

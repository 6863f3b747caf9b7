"""Loads the private copies of a worker's interpreter: modules, and the libraries that they need.

A copy lies nowhere, so the dynamic loader cannot find what it needs through the original's search path; and what the
original needs may have to be a private copy too. Hence each needed library is looked up here, before the copy is
loaded: a private one is loaded under a name of its own, which the copy then needs instead; a shared one is loaded from
its path. `_policy.library_rule` says which is which.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from owngil import _core
from owngil.isolation import _policy

__all__ = ["Copy", "Library", "LoadError", "copies", "find_private", "libraries", "load"]


class LoadError(Exception):
    """A private copy cannot be loaded; the message goes on "because ..."."""


@dataclass
class Copy:
    """A private copy that is loaded in this interpreter."""

    path: str
    handle: int
    name: bytes  # by which other copies can need it
    shared: list[str] = field(default_factory=list)  # paths of the shared libraries that it needs
    private: list[str] = field(default_factory=list)  # and of the private ones


@dataclass(frozen=True)
class Library:
    """What was decided about a library that modules need."""

    path: str
    private: bool
    reason: str


# All of this interpreter's, by the device and inode of the original.
copies: dict[tuple[int, int], Copy] = {}
libraries: dict[tuple[int, int], Library] = {}
# By the name that others need it under.
_private_names: dict[bytes, Copy] = {}


def _identity(path: bytes) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


@dataclass(frozen=True)
class _Image:
    """What a library's file says of itself."""

    soname: bytes | None
    needed: tuple[bytes, ...]
    runpath: tuple[bytes, ...]
    rpath: tuple[bytes, ...]
    uses_python: bool
    state: int
    stays: bool


def _split(lists: tuple[bytes, ...], origin: bytes) -> tuple[bytes, ...]:
    """Return the folders in search paths; glibc ignores relative ones only for privileged programs, we always do."""
    folders = (
        entry.replace(b"${ORIGIN}", origin).replace(b"$ORIGIN", origin) for paths in lists for entry in paths.split(b":")
    )
    return tuple(folder for folder in folders if folder.startswith(b"/"))


def _read(path: bytes) -> _Image:
    answer = _core.read_library(path)
    if isinstance(answer, str):
        raise LoadError(answer)
    soname, needed, runpath, rpath, uses_python, state, stays = answer
    origin = os.path.dirname(path)
    return _Image(soname[0] if soname else None, needed, _split(runpath, origin), _split(rpath, origin), uses_python,
                  state, stays)  # fmt: skip


def _find(name: bytes, image: _Image, inherited: tuple[bytes, ...]) -> bytes | None:
    """Return the path of a needed library as the dynamic loader would find it before it asks the system."""
    if b"/" in name:
        return name
    folders = image.runpath or (*image.rpath, *inherited)
    for folder in folders:
        path = os.path.join(folder, name)
        if os.access(path, os.R_OK):
            return os.path.realpath(path)
    return None


def _places() -> Iterator[bytes]:
    """Yield folders for copies when files in memory cannot be had; nobody else gets at an unnamed file in there."""
    environment = os.environb
    home = environment.get(b"HOME", b"")
    yield from (
        folder
        for folder in (
            environment.get(b"XDG_RUNTIME_DIR"),
            environment.get(b"TMPDIR"),
            b"/dev/shm",
            b"/tmp",
            b"/var/tmp",
            environment.get(b"XDG_CACHE_HOME") or (home and home + b"/.cache"),
            home,
        )
        if folder and folder.startswith(b"/")
    )


def _decide(path: bytes, image: _Image, beside: bool) -> Library:
    identity = _identity(path)
    known = libraries.get(identity)
    if known is None:
        private, reason = _policy.library_rule(
            os.fsdecode(os.path.basename(path)),
            beside=beside,
            uses_python=image.uses_python,
            state=image.state,
            stays=image.stays,
        )
        known = libraries[identity] = Library(os.fsdecode(path), private, reason)
    return known


class _Needs:
    """What one copy is about to need: gathered first, so that it is loaded after all of them."""

    def __init__(self) -> None:
        self.renames: list[tuple[bytes, bytes]] = []
        self.handles: list[int] = []
        self.private: list[Copy] = []
        self.shared: list[str] = []

    def gather(self, path: bytes, image: _Image, inherited: tuple[bytes, ...]) -> None:
        """Load what `image` needs, or what those need, first."""
        for name in image.needed:
            if name.startswith(_SYSTEM):
                continue
            copy = _private_names.get(name)
            if copy is None:
                copy = self._load(name, image, inherited)
            if copy is not None:
                self.renames.append((name, copy.name))
                self.private.append(copy)

    def _load(self, name: bytes, image: _Image, inherited: tuple[bytes, ...]) -> Copy | None:
        """Return the private copy of a needed library, or load the one that is shared."""
        found = _find(name, image, inherited)
        beside = found is not None
        if found is None:
            # Where the system has it, only the dynamic loader knows.
            answer = _core.open_library(name)
            if isinstance(answer, str):
                return None  # loading the copy says the same, and names who needs it
            handle, found = answer
            self.handles.append(handle)
            found = os.path.realpath(found)
        try:
            other = _read(found)
        except (LoadError, OSError):
            return None
        decision = _decide(found, other, beside)
        search = (*other.rpath, *image.rpath, *inherited)
        if not decision.private:
            inner = _Needs()
            try:
                if beside:
                    inner.gather(found, other, search)
                if not inner.private:
                    self._share(found, name, other)
                    self.shared += [*inner.shared, decision.path]
                    return None
                # It would bring the originals of private libraries with it.
                reason = f"it needs {os.path.basename(inner.private[0].path)}, which is private"
                libraries[_identity(found)] = Library(decision.path, True, reason)
            finally:
                self.handles += inner.handles
        copy = load(os.fsdecode(found), search)
        _private_names[name] = copy
        return copy

    def _share(self, path: bytes, name: bytes, image: _Image) -> None:
        answer = _core.open_library(path)
        if isinstance(answer, str):
            return  # as above
        self.handles.append(answer[0])
        if image.soname != name:
            self.renames.append((name, answer[1]))

    def close(self) -> None:
        """Let go of the shared libraries: the copy holds them now."""
        for handle in self.handles:
            _core.close_library(handle)


_SYSTEM = tuple(os.fsencode(name) for name in _policy.SYSTEM_LIBRARIES)


def load(path: str, inherited: tuple[bytes, ...] = ()) -> Copy:
    """Load this interpreter's private copy of the library in the file `path`, once.

    Parameters
    ----------
    path : str
        A real path: without symbolic links.
    inherited : tuple of bytes
        Folders in which what needs this library finds its own, and so those of this one.

    Raises
    ------
    LoadError
        If it cannot be loaded.
    """
    raw = os.fsencode(path)
    try:
        identity = _identity(raw)
    except OSError as error:
        raise LoadError(f"it cannot be read: {error.strerror}") from None
    known = copies.get(identity)
    if known is not None:
        return known
    image = _read(raw)
    needs = _Needs()
    try:
        needs.gather(raw, image, inherited)
        answer = _core.load_copy(raw, tuple(needs.renames), tuple(_places()))
    finally:
        needs.close()
    if isinstance(answer, str):
        raise LoadError(answer)
    handle, name = answer
    copy = copies[identity] = Copy(path, handle, name, needs.shared, [other.path for other in needs.private])
    if image.soname is not None:
        _private_names.setdefault(image.soname, copy)
    return copy


def find_private(name: str) -> Copy | None:
    """Return the private copy to be used where code opens the library `name`, or None if all interpreters share it.

    Raises
    ------
    LoadError
        If it cannot be loaded.
    """
    if "/" not in name:
        return _private_names.get(os.fsencode(name))
    path = os.path.realpath(name)
    raw = os.fsencode(path)
    try:
        image = _read(raw)
    except (LoadError, OSError):
        return None  # the one who opens it hears the reason from the dynamic loader
    if image.soname is not None and image.soname.startswith(_SYSTEM):
        return None
    decision = _decide(raw, image, _policy.is_beside(path))
    return load(path) if decision.private else None

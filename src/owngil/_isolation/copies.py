"""Loads the private copies of a worker's interpreter: modules, and the libraries that they need.

A private copy is in no folder, so the dynamic loader cannot find what it needs through the original's search path. And
a library that the original needs may have to be a private copy, too. Hence this module finds each needed library before
it loads the private copy. A private library is loaded under a name of its own, which the copy then needs instead. A
shared one is loaded from its path. `policy.library_rule` decides which is which.
"""

import contextlib
import os
from _thread import RLock
from collections.abc import Iterator
from typing import NamedTuple

from owngil import _core
from owngil._isolation import blas_threads, policy

__all__ = ["Copy", "Library", "LoadError", "find_private", "libraries", "load"]


class LoadError(Exception):
    """A private copy cannot be loaded. The message continues a sentence that ends with "because"."""


class Copy:
    """A private copy in this interpreter."""

    def __init__(self, path: str, number: int, name: bytes) -> None:
        self.path = path
        self.number = number  # in the core
        self.name = name  # other private copies need it by this name
        self.soname: bytes | None = None  # originals need it by this name
        self.handle = 0  # of the dynamic loader, once the copy is loaded
        self.shared: list[str] = []  # paths of the shared libraries that it needs
        self.private: list[str] = []  # paths of the private libraries that it needs


class Library(NamedTuple):
    """What was decided about a library that modules need."""

    path: str
    private: bool
    reason: str


# All private copies of this interpreter, by the device and inode of the original.
_copies: dict[tuple[int, int], Copy] = {}
libraries: dict[tuple[int, int], Library] = {}
# Private copies by the name under which originals need them.
_private_names: dict[bytes, Copy] = {}


def _identity(path: bytes) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


class _Image(NamedTuple):
    """What the ELF file of a library declares."""

    soname: bytes | None
    needed: tuple[bytes, ...]
    runpath: tuple[bytes, ...]
    rpath: tuple[bytes, ...]
    uses_python: bool
    state: int
    pinned: bool


def _split(lists: tuple[bytes, ...], origin: bytes) -> tuple[bytes, ...]:
    """Return the folders in search paths. Relative folders are ignored, as glibc does for privileged programs."""
    folders = (
        entry.replace(b"${ORIGIN}", origin).replace(b"$ORIGIN", origin)
        for paths in lists
        for entry in paths.split(b":")
    )
    return tuple(folder for folder in folders if folder.startswith(b"/"))


# The dynamic loader searches these folders before a RUNPATH, and after an RPATH.
_LIBRARY_PATH = _split((os.environb.get(b"LD_LIBRARY_PATH", b""),), b"")


def _read(path: bytes) -> _Image:
    answer = _core.read_library(path)
    if isinstance(answer, str):
        raise LoadError(answer)
    soname, needed, runpath, rpath, uses_python, state, pinned = answer
    origin = os.path.dirname(path)
    return _Image(soname[0] if soname else None, needed, _split(runpath, origin), _split(rpath, origin), uses_python,
                  state, pinned)  # fmt: skip


# The core's sentences about files that the dynamic loader passes over, or refuses without a crash.
_PASSED_OVER = ("it cannot be read", "it is not a shared library for this kind of machine")


def _read_needed(path: bytes) -> _Image | None:
    """Read a needed library, or return None if the dynamic loader passes over it. It would crash at a cut-off one."""
    try:
        return _read(path)
    except LoadError as error:
        if str(error).startswith(_PASSED_OVER):
            return None
        raise LoadError(f"it needs {os.fsdecode(path)}, which cannot be loaded: {error}") from None


def _find(name: bytes, image: _Image, inherited: tuple[bytes, ...]) -> bytes | None:
    """Return the path of a needed library as the dynamic loader would find it before it asks the system."""
    if b"/" in name:
        return name
    if image.runpath and any(os.path.isfile(os.path.join(folder, name)) for folder in _LIBRARY_PATH):
        return None
    for folder in image.runpath or (*image.rpath, *inherited):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            return os.path.realpath(path)
    return None


def _places() -> Iterator[bytes]:
    """Yield folders for private copies if the system has no files in memory. The copies are unnamed files there."""
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


class _Loading:
    """The loading of one private copy, and of the libraries that it needs, which are loaded first.

    Libraries may need each other in a circle (FreeType and HarfBuzz do). Then the library that was met first is loaded
    first, and the dynamic loader loads the others with it; until then their written copies are in `circle`. Tarjan's
    algorithm finds the circles: `lowest` is the depth of the outermost unfinished library that this one leads to.
    """

    def __init__(self, path: str, depth: int) -> None:
        self.raw = os.fsencode(path)
        answer = _core.reserve_copy(self.raw, tuple(_places()))
        if isinstance(answer, str):
            raise LoadError(answer)
        self.copy = Copy(path, *answer)
        self.depth = self.lowest = depth
        self.renames: list[tuple[bytes, bytes]] = []
        self.handles: list[int] = []
        self.circle: list[Copy] = []

    def need(self, name: bytes, other: Copy) -> None:
        """Let the copy need `other` where the original needs `name`."""
        self.renames.append((name, other.name))
        self.copy.private.append(other.path)

    def gather(self, image: _Image, inherited: tuple[bytes, ...]) -> None:
        """Load what the library needs."""
        for name in image.needed:
            if name.startswith(_SYSTEM):
                continue
            copy = _private_names.get(name)
            if copy is not None:
                self.need(name, copy)
                continue
            found = _find(name, image, inherited)
            beside = found is not None
            if found is None:
                # Only the dynamic loader knows in which folder the system has the library.
                answer = _core.open_library(name)
                if isinstance(answer, str):
                    continue  # loading the copy fails with the same reason, and names the library that needs it
                self.handles.append(answer[0])
                found = os.path.realpath(answer[1])
            other = _read_needed(found)
            if other is None:
                continue
            search = (*other.rpath, *image.rpath, *inherited)
            if _is_private(found, other, beside, search):
                self.need(name, self._load_private(found, search))
            elif beside:
                self._load_shared(name, found, other, search)

    def _load_private(self, path: bytes, inherited: tuple[bytes, ...]) -> Copy:
        under_way = _under_way.get(_identity(path))
        if under_way is not None:
            self.lowest = min(self.lowest, under_way.depth)
            return under_way.copy
        copy, loading = _load(os.fsdecode(path), inherited)
        if loading is not None:
            self.lowest = min(self.lowest, loading.lowest)
            self.circle += [*loading.circle, loading.copy]
            self.handles += loading.handles
        return copy

    def _load_shared(
        self,
        name: bytes,
        path: bytes,
        image: _Image,
        inherited: tuple[bytes, ...],
        outer: frozenset[bytes] = frozenset(),
    ) -> None:
        """Load a shared library from its path, after the libraries that it needs itself."""
        outer |= {path}
        for inner in image.needed:
            found = None if inner.startswith(_SYSTEM) else _find(inner, image, inherited)
            if found is not None and os.fsdecode(found) not in self.copy.shared and found not in outer:
                other = _read_needed(found)
                if other is not None:
                    self._load_shared(inner, found, other, (*other.rpath, *inherited), outer)
        answer = _core.open_library(path)
        if isinstance(answer, str):
            return  # as in gather()
        self.handles.append(answer[0])
        self.copy.shared.append(os.fsdecode(path))
        if image.soname != name:
            self.renames.append((name, answer[1]))

    def write(self) -> None:
        """Write the copy, so that it, or a copy that needs it, can be loaded."""
        problem = _core.write_copy(self.copy.number, tuple(self.renames))
        if problem is not None:
            raise LoadError(problem)

    def load(self) -> None:
        """Load the copy and the others of its circle: loading one of them loads all."""
        problem = _core.load_copies(tuple(copy.number for copy in (*self.circle, self.copy)))
        if problem is not None:
            raise LoadError(problem)
        self.record_handles()

    def record_handles(self) -> None:
        """Record the handles of the copies that are loaded."""
        for copy in (*self.circle, self.copy):
            copy.handle = _core.handle_of_copy(copy.number)
            if copy.handle and copy.soname is not None:
                _private_names.setdefault(copy.soname, copy)

    def close_shared(self) -> None:
        """Close the shared libraries: the loaded copies keep them open."""
        for handle in self.handles:
            _core.close_library(handle)

    def discard(self) -> None:
        """Forget the copies that are not loaded. A loaded one stays: its constructors have run."""
        self.record_handles()
        for copy in (self.copy, *self.circle):
            if not copy.handle:
                _core.discard_copy(copy.number)
                _copies.pop(_identity(os.fsencode(copy.path)), None)


_SYSTEM = tuple(os.fsencode(name) for name in policy.SYSTEM_LIBRARIES)
_under_way: dict[tuple[int, int], _Loading] = {}
# Held while a thread loads. Reentrant, because a library's constructor may load another. No import happens under it.
# No interrupt is raised meanwhile: it could leave a library in `_under_way`, or, on 3.14, the lock locked (CPython may
# raise between a call of __enter__() and the body of a `with`).
_lock = RLock()
_depth = 0  # how often the holding thread has taken the lock
_unlimited: list[str] = []  # paths of the shared libraries that were loaded under it


def _is_private(path: bytes, image: _Image, beside: bool, inherited: tuple[bytes, ...]) -> bool:
    """Return the rule's decision on a library; one that needs a private library is private too."""
    identity = _identity(path)
    known = libraries.get(identity)
    if known is not None:
        return known.private
    private, reason = policy.library_rule(
        os.fsdecode(os.path.basename(path)),
        beside=beside,
        uses_python=image.uses_python,
        state=image.state,
        pinned=image.pinned,
    )
    libraries[identity] = Library(os.fsdecode(path), private, reason)
    if not private and beside and not policy.is_always_shared(os.fsdecode(os.path.basename(path))):
        for name in image.needed:
            found = None if name.startswith(_SYSTEM) else _find(name, image, inherited)
            if found is None:
                continue
            with contextlib.suppress(LoadError, OSError):
                other = _read(found)
                if _is_private(found, other, True, (*other.rpath, *inherited)):
                    private = True
                    libraries[identity] = Library(
                        os.fsdecode(path), True, f"it needs {os.fsdecode(name)}, which is private"
                    )
    return private


def _load(path: str, inherited: tuple[bytes, ...]) -> tuple[Copy, _Loading | None]:
    """Load a private copy. If a circle is not complete, only write it, and return its loading as the second value."""
    raw = os.fsencode(path)
    try:
        identity = _identity(raw)
    except OSError as error:
        raise LoadError(f"it cannot be read: {error.strerror}") from None
    known = _copies.get(identity)
    if known is not None:
        return known, None
    image = _read(raw)
    loading = _under_way[identity] = _Loading(path, len(_under_way))
    loading.copy.soname = image.soname
    finished = False
    try:
        loading.gather(image, inherited)
        loading.write()
        _copies[identity] = loading.copy
        if loading.lowest < loading.depth:
            finished = True
            return loading.copy, loading
        loading.load()
        finished = True
    finally:
        del _under_way[identity]
        if not finished:
            loading.discard()
        if loading.lowest == loading.depth or not finished:
            loading.close_shared()
    _unlimited.extend(loading.copy.shared)
    return loading.copy, None


def _load_outermost(path: str) -> tuple[Copy, list[str]]:
    """Load a private copy; return it, and if no other is being loaded, the shared libraries that are new."""
    global _depth
    _depth += 1
    try:
        copy, _ = _load(path, ())
    finally:
        _depth -= 1
    new = [] if _depth else [*_unlimited]
    if new:
        _unlimited.clear()
    return copy, new


def load(path: str) -> Copy:
    """Load this interpreter's private copy of the library in the file `path`, once.

    Parameters
    ----------
    path : str
        A real path: without symbolic links.

    Raises
    ------
    LoadError
        If it cannot be loaded.
    """
    # CPython raised an earlier interrupt in this function's first instruction, and none can come before the call.
    return _core.uninterrupted(_load_and_limit, path)


def _load_and_limit(path: str) -> Copy:
    """Load the copy, and limit the threads of the shared libraries that this loads."""
    copy, new = _core.locked(_lock, _load_outermost, path)
    # Without the lock: limit() may import a module whose import lock belongs to a thread that waits for this lock.
    if new:
        blas_threads.limit(new)
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
    return _core.uninterrupted(_find_private, os.path.realpath(name))


def _find_private(path: str) -> Copy | None:
    raw = os.fsencode(path)
    try:
        image = _read(raw)
        if image.soname is not None and image.soname.startswith(_SYSTEM):
            return None
        private = _core.locked(_lock, _is_private, raw, image, policy.is_beside(path), image.rpath)
    except (LoadError, OSError):
        return None  # the dynamic loader tells the caller the reason
    return load(path) if private else None

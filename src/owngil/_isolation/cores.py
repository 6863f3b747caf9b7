"""How many cores this process may use: `-X cpu_count` or PYTHON_CPU_COUNT (3.13), or else its affinity and CPU quotas.

Containers limit CPU time by a quota (Docker's --cpus, Kubernetes' limits), which os.cpu_count() and
os.sched_getaffinity() ignore. If more threads run than the quota allows, the kernel halts all threads
until the next period.

Sources: cgroups(7); the kernel's Documentation/admin-guide/cgroup-v2.rst (cpu.max) and scheduler/sched-bwc.rst
(cpu.cfs_quota_us).
"""

import os
import sys
from collections.abc import Iterator

__all__ = ["cores_of_affinity", "usable_cores"]

_MEMBERSHIP = "/proc/self/cgroup"
_MOUNTS = "/sys/fs/cgroup"


def cores_of_affinity() -> int:
    """Return how many cores this process may run on: what BLAS and OpenMP libraries count."""
    return len(os.sched_getaffinity(0))


def usable_cores() -> int:
    """Return how many cores this process may use, at least 1.

    From Python 3.13 on, ``-X cpu_count`` and PYTHON_CPU_COUNT win over all else.
    """
    if sys.version_info >= (3, 13) and _is_given():
        return os.process_cpu_count() or 1
    cores = cores_of_affinity()
    quota = _quota(_MEMBERSHIP, _MOUNTS)
    return cores if quota is None else max(1, min(cores, quota))


def _is_given() -> bool:
    option = sys._xoptions.get("cpu_count")
    if option is None and not sys.flags.ignore_environment:
        option = os.environ.get("PYTHON_CPU_COUNT") or None
    return option not in (None, "default")


def _quota(membership: str, mounts: str) -> int | None:
    """Return the smallest quota of this process's control groups and those above them, in whole cores; None: none."""
    quotas = []
    for controllers, path in _groups(membership):
        if controllers == "":  # version 2
            quotas += [_quota_v2(directory) for directory in _with_ancestors(mounts, path)]
        elif "cpu" in controllers.split(","):
            for mount in {f"{mounts}/cpu", f"{mounts}/{controllers}"}:
                quotas += [_quota_v1(directory) for directory in _with_ancestors(mount, path)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _groups(membership: str) -> Iterator[tuple[str, str]]:
    for line in _read(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        yield controllers, path


def _with_ancestors(mount: str, path: str) -> Iterator[str]:
    """Yield the directory and all above it. In a container, `path` may be one of the host that does not exist here."""
    while path not in ("", "/"):
        yield mount + path
        path = os.path.dirname(path)
    yield mount


def _quota_v2(directory: str) -> int | None:
    quota, _, period = _read(f"{directory}/cpu.max").partition(" ")
    return _cores(quota, period)


def _quota_v1(directory: str) -> int | None:
    return _cores(_read(f"{directory}/cpu.cfs_quota_us"), _read(f"{directory}/cpu.cfs_period_us"))


def _cores(quota: str, period: str) -> int | None:
    """Return the number of cores, rounded up; None if there is no quota."""
    try:
        time, of = int(quota), int(period)
    except ValueError:  # "max", or there is no such file
        return None
    return -(-time // of) if time > 0 and of > 0 else None


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""

"""The default number of workers: the user's setting, or affinity and the control groups' quotas, from fake files."""

import os
import sys

import pytest

import owngil
from owngil._isolation import cores as cores_module


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Make the files of control groups, and put the process into the groups of `membership`."""
    monkeypatch.setattr(cores_module, "_MEMBERSHIP", str(tmp_path / "membership"))
    monkeypatch.setattr(cores_module, "_MOUNTS", str(tmp_path / "mounts"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(cores_module, "_is_given", lambda: False)

    def make(membership, **files):
        (tmp_path / "membership").write_text(membership)
        for name, text in files.items():
            path = tmp_path / "mounts" / name.replace("__", "/").replace("_max", ".max").replace("_cfs", ".cfs")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return make


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("10000 100000", 1), ("9000000 100000", 8), ("", 8),
     ("nonsense", 8), ("100000 0", 8)],
)  # fmt: skip
def test_version_2(groups, limit, cores):
    groups("0::/app\n", app__cpu_max=limit + "\n")
    assert cores_module.usable_cores() == cores


def test_the_smallest_quota_on_the_way_up_counts(groups):
    groups("0::/a/b/c\n", a__b__c__cpu_max="max 100000", a__b__cpu_max="500000 100000", a__cpu_max="300000 100000")
    assert cores_module.usable_cores() == 3


def test_in_a_container_the_mount_itself_counts(groups):
    groups("0::/docker/0123\n", cpu_max="400000 100000")
    assert cores_module.usable_cores() == 4


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize("place", ["", "/docker/0123"])
def test_version_1(groups, mount, place, tmp_path):
    groups("4:memory:/x\n3:cpu,cpuacct:/docker/0123\n0::/\n")
    directory = tmp_path / "mounts" / f"{mount}{place}"
    directory.mkdir(parents=True)
    (directory / "cpu.cfs_quota_us").write_text("250000\n")
    (directory / "cpu.cfs_period_us").write_text("100000\n")
    assert cores_module.usable_cores() == 3
    (directory / "cpu.cfs_quota_us").write_text("-1\n")
    assert cores_module.usable_cores() == 8


def test_without_control_groups(groups):
    assert cores_module.usable_cores() == 8  # there is no file at all


def test_affinity(groups, monkeypatch):
    groups("0::/\n", cpu_max="400000 100000")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    assert cores_module.usable_cores() == 1


def test_a_pool_has_a_worker_for_each(groups):
    groups("0::/\n", cpu_max="300000 100000")
    for make in (owngil.Pool, owngil.InterpreterPoolExecutor):
        with make() as pool:
            assert pool._max_workers == 3


@pytest.mark.skipif(sys.version_info < (3, 13), reason="Python 3.12 has no cpu_count option")
@pytest.mark.parametrize(
    ("options", "environment", "cores"),
    [
        (["-X", "cpu_count=5"], {}, "5"),
        ([], {"PYTHON_CPU_COUNT": "6"}, "6"),
        (["-X", "cpu_count=5"], {"PYTHON_CPU_COUNT": "6"}, "5"),
        (["-E"], {"PYTHON_CPU_COUNT": "6"}, "1"),
        (["-X", "cpu_count=default"], {"PYTHON_CPU_COUNT": "6"}, "1"),
        ([], {"PYTHON_CPU_COUNT": "default"}, "1"),
        ([], {}, "1"),
    ],
)
def test_the_users_number_wins(options, environment, cores):
    import subprocess

    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from owngil._isolation.cores import usable_cores\n"
        "print(usable_cores())"
    )
    env = {name: value for name, value in os.environ.items() if name != "PYTHON_CPU_COUNT"}
    command = [sys.executable, *options, "-c", code]
    assert subprocess.check_output(command, env={**env, **environment}, text=True).strip() == cores

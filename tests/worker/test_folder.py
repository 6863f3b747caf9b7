"""A worker's current folder and umask are its own, as a process's are."""

import os
import subprocess
import sys
import threading

import pytest

import owngil


@pytest.fixture
def folders(tmp_path):
    made = [tmp_path / name for name in ("one", "two", "three")]
    for folder in made:
        folder.mkdir()
    return [os.fspath(folder) for folder in made]


def work_in(folder, ready):
    os.chdir(folder)
    ready.wait()
    with open("here", "w") as file:
        file.write(folder)
    ready.wait()
    return os.getcwd()


def test_workers_in_folders_of_their_own(folders):
    before = os.getcwd()
    ready = owngil.Barrier(len(folders))
    with owngil.Pool(len(folders)) as pool:
        assert list(pool.map(work_in, folders, [ready] * len(folders), chunksize=1)) == folders
    for folder in folders:
        with open(os.path.join(folder, "here")) as file:
            assert file.read() == folder
    assert os.getcwd() == before


def test_a_worker_keeps_its_folder(folders):
    with owngil.Interpreter() as one, owngil.Interpreter() as two:
        one.call(os.chdir, folders[0])
        assert (one.call(os.getcwd), two.call(os.getcwd)) == (folders[0], os.getcwd())


def test_a_worker_starts_in_its_callers_folder(folders, monkeypatch):
    monkeypatch.chdir(folders[0])
    with owngil.Interpreter() as it:
        monkeypatch.chdir(folders[1])
        assert it.call(os.getcwd) == folders[0]


def start_another(folder):
    os.chdir(folder)
    with owngil.Interpreter() as it:
        at_start = it.call(os.getcwd)
        it.call(os.chdir, os.pardir)
    return at_start, os.getcwd()


def test_a_worker_of_a_worker(folders):
    with owngil.Interpreter() as it:
        assert it.call(start_another, folders[2]) == (folders[2], folders[2])


def folders_of_what_it_starts(folder):
    os.chdir(folder)
    found = []
    thread = threading.Thread(target=lambda: found.append(os.getcwd()))
    thread.start()
    thread.join()
    program = [sys.executable, "-c", "import os; print(os.getcwd())"]
    return found, subprocess.check_output(program, text=True).strip(), os.popen("pwd -P").read().strip()


def test_threads_and_processes_that_a_worker_starts(folders):
    with owngil.Interpreter() as it:
        assert it.call(folders_of_what_it_starts, folders[0]) == ([folders[0]], folders[0], folders[0])


def make_file(folder, mask):
    os.umask(mask)
    path = os.path.join(folder, "file")
    with open(path, "w"):
        pass
    return os.stat(path).st_mode & 0o777


def test_a_workers_umask(folders):
    with owngil.Interpreter() as one, owngil.Interpreter() as two:
        one.call(os.umask, 0o077)
        assert two.call(make_file, folders[0], 0o027) == 0o640
        assert one.call(os.umask, 0o022) == 0o077
    mine = os.umask(0o022)
    os.umask(mine)
    assert mine not in (0o027, 0o077)


def fall_from(folder):
    os.chdir(folder)
    os.rmdir(folder)
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "it is gone"


def test_a_folder_that_is_removed_disturbs_no_other(folders):
    with owngil.Pool(2) as pool:
        assert pool.submit(fall_from, folders[0]).result() == "it is gone"
        assert pool.broadcast(abs, -1) == [1, 1]
    assert os.path.isdir(os.getcwd())

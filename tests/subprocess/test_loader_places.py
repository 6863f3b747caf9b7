"""Places for the files of private copies when the kernel has no files in memory, and places of modules."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from extensions import build, libraries
from patience import HANGS_AFTER

EXTENSIONS = Path(__file__).parents[1] / "extensions"
PLACES = ["XDG_RUNTIME_DIR", "TMPDIR", "XDG_CACHE_HOME", "HOME"]
SYSTEM = ["/tmp", "/var/tmp", "/dev/shm"]

LOAD = """
    import os, sys
    import owngil
    sys.path.insert(0, "modules")

    def use():
        import numbered
        return numbered.bump()

    workers = [owngil.Interpreter() for _ in range(3)]
    futures = [worker.submit(use) for worker in workers]
    print([future.result() for future in futures])
"""


@pytest.fixture(scope="session")
def without_memory(tmp_path_factory):
    """Give a library that, preloaded, makes memfd_create() fail."""
    return libraries.compile_c(tmp_path_factory.mktemp("preload") / "no_memfd.so", EXTENSIONS / "no_memfd.c")


@pytest.fixture
def places(tmp_path):
    """Make a folder for each variable that names a place, and a folder with a module; return the environment."""
    modules = tmp_path / "modules"
    modules.mkdir()
    libraries.compile_c(modules / f"numbered{build.SUFFIX}", EXTENSIONS / "statics.c", "-DNAME=numbered")
    environment = dict(os.environ)
    for name in PLACES:
        folder = tmp_path / "places" / name.lower()
        folder.mkdir(parents=True)
        environment[name] = str(folder)
    return environment


@pytest.fixture
def run_in(tmp_path, without_memory, places):
    """Run a program without files in memory, in a mount namespace whose mounts a shell script has changed."""

    def run(source, mounts=None):
        program = tmp_path / "program.py"
        program.write_text(textwrap.dedent(source))
        preloaded = f"{os.environ.get('LD_PRELOAD', '')} {without_memory}".strip()  # tools/asan has one
        command = [f"LD_PRELOAD={preloaded}", sys.executable, str(program)]
        if mounts is not None:
            script = f'set -e; mount --make-rprivate /; {mounts}\nexec env "$@"'
            command = ["unshare", "--mount", "sh", "-c", script, "sh", *command]
        else:
            command = ["env", *command]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=HANGS_AFTER, cwd=tmp_path, env=places, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def may_mount():
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        pytest.skip("the programs unshare and mount are missing")
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", "mount --make-rprivate / && mount -t tmpfs none /mnt"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.skip(f"file systems can only be mounted as root: {done.stderr.strip()}")


def mount(options, *folders):
    """Return the commands that put a tmpfs with these options over each folder."""
    return "\n".join(f"mount -t tmpfs -o {options} none '{folder}'" for folder in folders)


def test_copies_are_made_in_a_folder_and_nothing_is_left(run_in, places):
    done = run_in(
        LOAD
        + """
    with open("/proc/self/maps") as maps:
        print(any(os.environ["XDG_RUNTIME_DIR"] in line for line in maps))
    """
    )
    assert (done.stdout, done.stderr) == ("[1, 1, 1]\nTrue\n", "")
    assert [os.listdir(places[name]) for name in PLACES] == [[]] * len(PLACES)


def test_nothing_is_left_by_a_process_that_is_killed(run_in, places):
    with pytest.raises(AssertionError):
        run_in(LOAD + "\n    import signal; os.kill(os.getpid(), signal.SIGKILL)\n")
    assert [os.listdir(places[name]) for name in PLACES] == [[]] * len(PLACES)


@pytest.mark.parametrize("options", ["noexec", "size=4k", "ro"])
def test_a_place_that_cannot_be_used_is_passed_over(run_in, places, may_mount, options):
    done = run_in(LOAD, mount(options, places["XDG_RUNTIME_DIR"]))
    assert (done.stdout, done.stderr) == ("[1, 1, 1]\n", "")


def test_a_place_without_nameless_files(run_in, places, may_mount):
    """ramfs has no O_TMPFILE."""
    done = run_in(
        LOAD + "\n    print(os.listdir(os.environ['XDG_RUNTIME_DIR']))\n",
        f"mount -t ramfs none '{places['XDG_RUNTIME_DIR']}'",
    )
    assert (done.stdout, done.stderr) == ("[1, 1, 1]\n[]\n", "")


FAIL = """
    import os, sys
    import owngil
    sys.path.insert(0, "modules")

    def use():
        import numbered

    try:
        with owngil.Interpreter() as it:
            for _ in range(2):
                try:
                    it.call(use)
                except owngil.IsolationError as error:
                    print(error)
            print(it.call(abs, -1))
    except owngil.BrokenPoolError as error:  # on Python 3.12, a worker needs private copies at its start
        print(*(str(error).replace("\\n", " ") for _ in range(2)), 1, sep="\\n")
"""


@pytest.mark.parametrize(
    ("options", "reason"),
    [("noexec", "Operation not permitted"), ("size=4k", "No space left on device"), ("ro", "Read-only file system")],
)
def test_the_error_names_all_places_when_none_can_be_used(run_in, places, may_mount, tmp_path, options, reason):
    # /tmp may hold Python and this test: bind mounts bring them into the new /tmp.
    kept = sorted({sys.prefix, str(tmp_path.parent), *(entry for entry in sys.path if os.path.isdir(entry))})
    kept = [folder for folder in kept if folder.startswith(("/tmp/", "/var/tmp/"))]
    keep = "\n".join(f"mkdir -p /mnt/kept{k}; mount --bind '{folder}' /mnt/kept{k}" for k, folder in enumerate(kept))
    back = "\n".join(f"mkdir -p '{folder}'; mount --bind /mnt/kept{k} '{folder}'" for k, folder in enumerate(kept))
    mounts = "\n".join(
        [
            "mount -t tmpfs none /mnt",
            keep,
            mount("mode=1777", *SYSTEM),
            back,
            *(f"head -c 4096 /dev/zero >{folder}/full" for folder in SYSTEM if options == "size=4k"),
            *(f"mount -o remount,{options} {folder}" for folder in SYSTEM),
            mount(options, *(places[name] for name in PLACES)),
        ]
    )  # fmt: skip
    done = run_in(FAIL, mounts)
    first, second, last = done.stdout.splitlines()
    assert first == second
    assert last == "1"
    assert "in memory (Function not implemented)" in first
    for folder in [*(places[name] for name in PLACES), *SYSTEM]:
        assert re.search(rf"in {re.escape(folder)} \({reason}\)", first), (folder, first)
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["with some space", "naïve ünïcode 漢字", "co:lon", "per%cent%s", "$ORIGIN"])
def test_modules_in_folders_with_unusual_names(ends_cleanly, tmp_path, name):
    site = tmp_path / name
    path = libraries.library(site / "odd.libs" / "libodd.so", "odd")
    libraries.module(site / "odd", "use", "odd", [path])
    printed = ends_cleanly(
        """
        import os, sys
        import owngil
        sys.path.insert(0, sys.argv[1])

        def use():
            import odd.use
            return odd.use.bump(), odd.use.path(), odd.use.__file__

        workers = [owngil.Interpreter() for _ in range(3)]
        for worker in workers:
            count, library, module = worker.call(use)
            assert count == 1
            assert os.path.realpath(library) == os.path.realpath(sys.argv[2])
            assert os.path.realpath(module) == os.path.realpath(sys.argv[3])
        print("done")
        """,
        str(site),
        str(path),
        str(site / "odd" / f"use{build.SUFFIX}"),
    )
    assert printed == "done\n"


@pytest.mark.parametrize("name", ["with some space", "naïve ünïcode 漢字", "co:lon", "per%cent%s"])
def test_places_with_unusual_names(run_in, places, name):
    folder = Path(places["XDG_RUNTIME_DIR"]) / name
    folder.mkdir()
    places["XDG_RUNTIME_DIR"] = str(folder)
    done = run_in(LOAD)
    assert (done.stdout, done.stderr) == ("[1, 1, 1]\n", "")
    assert os.listdir(folder) == []


def test_a_module_that_is_replaced_on_disk(ends_cleanly, tmp_path):
    """pip puts new files under the old names; each worker keeps the version that it loaded."""
    for version in (1, 2):
        folder = tmp_path / f"new{version}"
        folder.mkdir()
        libraries.compile_c(
            folder / f"replaced{build.SUFFIX}", EXTENSIONS / "statics.c", "-DNAME=replaced", f"-DSTART={version}00"
        )
    printed = ends_cleanly(
        """
        import os, shutil, sys
        import owngil
        here, file = sys.argv[1:]
        os.mkdir("site")
        sys.path.insert(0, os.path.join(here, "site"))

        def put(version):
            shutil.copy(os.path.join(here, f"new{version}", file), "part")
            os.replace("part", os.path.join("site", file))

        def use():
            import replaced
            return replaced.bump()

        put(1)
        one = owngil.Interpreter()
        print(one.call(use))
        put(2)
        two = owngil.Interpreter()
        print(two.call(use), one.call(use), two.call(use))
        os.remove(os.path.join("site", file))
        print(one.call(use), two.call(use))
        """,
        str(tmp_path),
        f"replaced{build.SUFFIX}",
    )
    assert printed == "101\n201 102 202\n103 203\n"

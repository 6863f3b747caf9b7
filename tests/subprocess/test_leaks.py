"""Opening and closing workers again and again leaves nothing behind."""


def test_many_pools_with_numpy(ends_cleanly, rounds):
    out = ends_cleanly(
        """
        import os, sys, time, owngil

        def work(k):
            import numpy as np
            return float(np.linalg.solve(np.eye(4) * k, np.ones(4)).sum())

        def counts():
            return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))

        for n in range(int(sys.argv[1])):
            with owngil.Pool(2) as pool:
                assert list(pool.map(work, [1, 2, 4, 8], chunksize=1)) == [4, 2, 1, 0.5]
            if n == 2:
                before = counts()
        # Before 3.13, the kernel may still list a joined thread, at the first count and at the last.
        deadline = time.monotonic() + 300
        while any(now > then for now, then in zip(counts(), before)) and time.monotonic() < deadline:
            time.sleep(0.01)
        print(before, counts())
        assert all(now <= then for now, then in zip(counts(), before))
        """,
        str(rounds(15, 300)),
    )
    assert out


def test_memory_of_messages_is_freed(ends_cleanly):
    ends_cleanly("""
        import owngil

        def resident():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * 4096

        def echo(data):
            return data

        data = b"x" * 10_000_000
        channel = owngil.Channel()
        with owngil.Pool(1) as pool:
            for n in range(60):
                assert len(pool.submit(echo, data).result()) == len(data)
                channel.send(data)
                channel.recv()
                if n == 9:
                    before = resident()
            # One copy that stays would make it 500 MB. The C library may keep some of what is free.
            assert resident() - before < 250_000_000, (before, resident())
    """)


def test_no_copy_is_left_on_disk_by_a_process_that_is_killed(run_program, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    done = run_program("""
        import os, owngil, signal
        it = owngil.Interpreter()
        it.exec("import numpy")
        print(open("/proc/self/maps").read().count("/memfd:owngil:_multiarray_umath") > 0, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    assert (done.returncode, done.stdout) == (-9, "True\n")
    assert [path.name for path in tmp_path.iterdir()] == ["program.py"]

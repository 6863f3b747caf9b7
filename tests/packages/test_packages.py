"""Real packages from their wheels, used in several workers at once; results equal those of the main interpreter."""

import pkgutil

import numpy as np
import pytest

import owngil

SCIPY = sorted(
    module.name
    for module in pkgutil.iter_modules(__import__("scipy").__path__)
    if not module.name.startswith("_") and module.name not in ("conftest", "version", "setup")
)


@pytest.fixture(scope="module")
def workers():
    workers = [owngil.Interpreter() for _ in range(3)]
    yield workers
    for worker in workers:
        worker.close()


def everywhere(workers, fn, *args):
    """Call the function in all workers at once and here; check that all results are equal, and return the result."""
    futures = [worker.submit(fn, *args) for worker in workers]
    expected = fn(*args)
    for future in futures:
        np.testing.assert_equal(future.result(), expected)
    return expected


def test_numpy(workers):
    def work():
        import numpy as np

        rng = np.random.default_rng(5)
        a = rng.normal(size=(50, 50))
        return (np.linalg.svd(a)[1], np.fft.rfft(a[0]), np.sort(a, axis=None)[:5], np.einsum("ij,ji", a, a),
                np.array2string(a[0, :3]), a.astype("U5")[0, 0],
                np.datetime64("2020-02-29") + np.timedelta64(1, "D"))  # fmt: skip

    everywhere(workers, work)


@pytest.mark.parametrize("name", SCIPY)
def test_all_of_scipy_imports(workers, name):
    def work(name):
        import importlib
        import inspect
        import warnings

        warnings.simplefilter("ignore", DeprecationWarning)  # from scipy.misc and scipy.odr
        module = importlib.import_module(f"scipy.{name}")
        # But for its modules: other tests of this process may have imported more of them.
        names = [n for n in dir(module) if not n.startswith("_")]
        return module.__name__, sorted(n for n in names if not inspect.ismodule(getattr(module, n)))

    assert everywhere(workers, work, name)


def test_scipy(workers):
    def work():
        import numpy as np
        from scipy import integrate, interpolate, linalg, ndimage, optimize, signal, sparse, spatial, special, stats

        x = np.linspace(0, 6, 60)
        return (
            special.gamma(x[1:]),
            stats.ttest_ind(np.sin(x), np.cos(x)).pvalue,
            optimize.minimize(lambda p: ((p - 3) ** 2).sum(), np.zeros(3)).x,
            integrate.quad(np.exp, 0, 1)[0],
            interpolate.CubicSpline(x, np.sin(x))(1.234),
            linalg.expm(np.diag([1.0, 2.0])),
            ndimage.gaussian_filter(np.eye(9), 1.5),
            signal.butter(4, 0.2)[0],
            sparse.linalg.spsolve(sparse.csc_matrix(np.diag([1.0, 2, 4])), np.ones(3)),
            spatial.cKDTree(np.c_[x, x]).query([1, 1])[1],
        )

    everywhere(workers, work)


def test_pandas(workers):
    def work():
        import io

        import numpy as np
        import pandas as pd

        frame = pd.DataFrame({"k": list("abab"), "v": np.arange(4.0), "t": pd.date_range("2020", periods=4)})
        again = pd.read_csv(io.StringIO(frame.to_csv(index=False)), parse_dates=["t"])
        return (again.groupby("k")["v"].sum().to_dict(), str(again["t"].dt.day_name().tolist()),
                frame.merge(again, on="k").shape, frame[["k", "v"]].to_json(),
                frame["v"].rolling(2).mean().iloc[-1])  # fmt: skip

    everywhere(workers, work)


def test_frames_travel(workers):
    import pandas as pd

    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}, index=pd.Index([10, 20], name="n"))
    pd.testing.assert_frame_equal(workers[0].call(lambda f: f, frame), frame)


def test_matplotlib(workers):
    def work():
        import hashlib
        import io

        import matplotlib

        matplotlib.use("agg")
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(figsize=(3, 2))
        axes.plot([1, 3, 2], label=r"$\alpha^2$")
        axes.imshow([[1, 2], [3, 4]], cmap="hot")
        axes.legend()
        file = io.BytesIO()
        figure.savefig(file, format="png", metadata={"Software": None})
        plt.close(figure)
        return hashlib.sha256(file.getvalue()).hexdigest()

    everywhere(workers, work)


def test_pillow(workers):
    def work():
        import io

        from PIL import Image, ImageDraw, ImageFilter

        image = Image.new("RGB", (40, 30), "navy")
        ImageDraw.Draw(image).ellipse((5, 5, 30, 25), fill="gold")
        results = []
        for form in ("PNG", "GIF", "BMP", "TIFF"):
            file = io.BytesIO()
            image.filter(ImageFilter.GaussianBlur(2)).save(file, form)
            results.append(Image.open(file).convert("RGB").tobytes())
        return results

    everywhere(workers, work)

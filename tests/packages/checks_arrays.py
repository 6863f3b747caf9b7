"""Arrays in memory and the compilers of array expressions."""

from checks_registry import check


@check("numpy")
def check_numpy():
    import io

    import numpy as np

    rng = np.random.default_rng(7)
    a = rng.normal(size=(40, 40))
    records = np.array([("b", 2), ("a", 1)], dtype=[("name", "U4"), ("n", "i4")])
    file = io.BytesIO()
    np.savez_compressed(file, a=a, records=records)
    file.seek(0)
    with np.load(file) as archive:
        equal = bool((archive["a"] == a).all())
    with np.errstate(divide="raise"):
        try:
            np.ones(3) / np.zeros(3)
        except FloatingPointError as error:
            message = str(error)
    return {
        "random": rng.integers(0, 1000, 8),
        "singular values": np.linalg.svd(a)[1].round(8),
        "solution": np.linalg.solve(a, np.ones(40)).round(6),
        "fft": np.fft.rfft(a[0]).round(8),
        "einsum": round(float(np.einsum("ij,ji", a, a)), 8),
        "sorted": np.sort(records, order="name").tolist(),
        "strings": np.strings.upper(np.array(["ab", "ç"], dtype=np.dtypes.StringDType())).tolist(),
        "dates": np.arange("2024-02-27", "2024-03-02", dtype="datetime64[D]").astype(str),
        "text": np.array2string(a[:2, :3], precision=3),
        "ufunc": np.frompyfunc(lambda x, y: f"{x}{y}", 2, 1).outer([1, 2], ["a", "b"]).tolist(),
        "saved": equal,
        "error": message,
    }


@check("scipy")
def check_scipy():
    import numpy as np
    from scipy import fft, integrate, interpolate, linalg, ndimage, optimize, signal, sparse, spatial, special, stats

    rng = np.random.default_rng(11)
    points = rng.random((60, 2))
    x = np.linspace(0, 6, 60)
    graph = sparse.csr_array(np.triu(rng.integers(0, 3, (12, 12)), 1))
    orbit = integrate.solve_ivp(lambda t, y: [y[1], -y[0]], (0, 3), [1, 0], method="LSODA", rtol=1e-8)
    return {
        "special": special.jv([0, 1, 2], 1.5).round(10),
        "t test": round(float(stats.ttest_ind(np.sin(x), np.cos(x)).pvalue), 10),
        "minimum": optimize.minimize(optimize.rosen, [1.3, 0.7], method="L-BFGS-B").x.round(3),
        "assignment": optimize.linear_sum_assignment(rng.random((6, 6)))[1],
        "linear program": optimize.linprog([-1, -2], [[1, 1], [1, 3]], [4, 6]).x.round(8),
        "orbit": orbit.y[:, -1].round(5),
        "quadrature": round(integrate.quad(lambda t: np.exp(-t * t), 0, np.inf)[0], 10),
        "spline": float(interpolate.CubicSpline(x, np.sin(x))(1.234).round(10)),
        "expm": linalg.expm(np.array([[0, 1.0], [-1, 0]])).round(10),
        "filtered": ndimage.gaussian_filter(np.eye(9), 1.5).round(10),
        "generic filter": ndimage.generic_filter(np.arange(9.0).reshape(3, 3), max, 3),
        "butterworth": signal.sosfilt(signal.butter(4, 0.2, output="sos"), x)[-5:].round(8),
        "dct": fft.dct(x, norm="ortho")[:4].round(8),
        "eigenvalues": sparse.linalg.eigsh(sparse.diags_array(np.arange(1.0, 51)), 3, v0=np.ones(50))[0].round(6),
        "shortest paths": sparse.csgraph.dijkstra(graph, indices=0),
        "triangles": len(spatial.Delaunay(points).simplices),
        "neighbours": spatial.cKDTree(points).query([[0.5, 0.5]], k=3)[1],
        "hull": sorted(spatial.ConvexHull(points).vertices.tolist()),
    }


@check("numba")
def check_numba():
    import numba
    import numpy as np

    @numba.njit
    def collatz(n):
        steps = 0
        while n != 1:
            n = n // 2 if n % 2 == 0 else 3 * n + 1
            steps += 1
        return steps

    @numba.njit
    def last_places(values):
        table = {}  # of integers: a table of strings takes seconds to compile
        for i, value in enumerate(values):
            table[value] = i
        return [place for _, place in table.items()]

    @numba.njit(parallel=True)
    def distances(points):
        result = np.empty(len(points))
        for i in numba.prange(len(points)):
            result[i] = np.sqrt(points[i, 0] ** 2 + points[i, 1] ** 2)
        return result

    @numba.vectorize(["float64(float64, float64)"])
    def clipped(a, b):
        return a if a < b else b

    @numba.cfunc("float64(float64)")
    def square(x):
        return x * x

    return {
        "collatz": [collatz(n) for n in (7, 27, 97)],
        "last places": last_places(np.arange(100) ** 2 % 10),
        "parallel": distances(np.arange(20.0).reshape(10, 2)).round(10),
        "vectorize": clipped(np.arange(5.0), 2.5),
        "reduce": float(clipped.reduce(np.array([3.0, 1.0, 2.0]))),
        "cfunc": square.ctypes(1.5),
        "signatures": [str(signature) for signature in collatz.signatures],
    }


@check("numexpr")
def check_numexpr():
    import numexpr
    import numpy as np

    a = np.arange(200_000.0)
    b = np.arange(200_000) % 7
    names = np.array([b"one", b"two", b"one"])
    try:
        numexpr.evaluate("a * names", {"a": a, "names": names})
    except TypeError as error:
        message = str(error)
    return {
        "elementwise": numexpr.evaluate("sin(a) ** 2 + where(b > 3, a, -a) / 3", {"a": a, "b": b})[::20_000].round(10),
        "sum": int(numexpr.evaluate("sum(b)", {"b": b})),
        "complex": numexpr.evaluate("real(c * conj(c))", {"c": np.array([1 + 2j, 3j])}),
        "strings": numexpr.evaluate("names == b'one'", {"names": names}),
        "error": message,
    }


@check("bottleneck")
def check_bottleneck():
    import bottleneck as bn
    import numpy as np

    a = np.random.default_rng(3).normal(size=(20, 30)).round(3)
    a[::3, ::4] = np.nan
    b = a.copy()
    bn.replace(b, np.nan, -1.0)
    return {
        "mean": bn.nanmean(a, axis=0).round(10),
        "median": bn.nanmedian(a, axis=1),
        "deviation": round(bn.nanstd(a, axis=None), 10),
        "moving": bn.move_mean(a[1], window=4, min_count=2).round(10),
        "rank": bn.nanrankdata(a[3]),
        "partition": np.sort(bn.partition(a[1].copy(), 5)[:5]),
        "push": bn.push(a[0]),
        "replaced": b.sum(axis=1).round(10),
    }


@check("xarray")
def check_xarray():
    import numpy as np
    import pandas as pd
    import xarray as xr

    days = pd.date_range("2024-01-30", periods=6)
    data = xr.Dataset(
        {"t": (("day", "x"), np.arange(24.0).reshape(6, 4)), "name": ("x", list("abcd"))},
        coords={"day": days, "x": [10, 20, 30, 40]},
    )
    stored = data[["t"]].to_netcdf(engine="scipy")
    again = xr.load_dataset(bytes(stored), engine="scipy")
    return {
        "mean a month": data.t.groupby("day.month").mean().to_numpy(),
        "resampled": data.t.resample(day="2D").sum().sel(x=20).to_numpy(),
        "interpolated": data.t.interp(x=[15, 35]).isel(day=0).to_numpy(),
        "rolling": data.t.rolling(day=3).max().isel(x=0).to_numpy(),
        "ufunc": xr.apply_ufunc(
            lambda a: a[..., ::-1], data.t, input_core_dims=[["x"]], output_core_dims=[["x"]]
        ).to_numpy(),
        "frame": data.to_dataframe().reset_index().shape,
        "stored": again.t.equals(data.t),
        "text": str(data.t.isel(day=0).drop_vars("day")),
    }


@check("cftime")
def check_cftime():
    import cftime
    import numpy as np

    noleap = cftime.num2date(np.arange(57, 61), "days since 2024-01-01", calendar="noleap")
    day = cftime.datetime(2024, 2, 30, calendar="360_day")
    return {
        "noleap": [str(date) for date in noleap],
        "numbers": cftime.date2num(noleap, "hours since 2024-01-01", calendar="noleap"),
        "360 days": (
            day.isoformat(),
            day.dayofyr,
            day.dayofwk,
            str(day - cftime.datetime(2023, 1, 1, calendar="360_day")),
        ),
        "julian": cftime.datetime(1582, 10, 4, calendar="standard").change_calendar("julian").strftime("%Y-%m-%d"),
        "index": cftime.date2index(noleap[2], _NetcdfTime(np.arange(57.0, 61))),
    }


class _NetcdfTime:
    """The part of a netCDF variable that cftime.date2index uses."""

    units = "days since 2024-01-01"
    calendar = "noleap"

    def __init__(self, values):
        self.values = values
        self.shape = values.shape

    def __getitem__(self, item):
        return self.values[item]

    def __len__(self):
        return len(self.values)

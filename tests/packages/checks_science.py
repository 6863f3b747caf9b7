"""Mathematics, astronomy and maps."""

from checks_registry import check


@check("sympy")
def check_sympy():
    import sympy as sp

    x, y = sp.symbols("x y")
    matrix = sp.Matrix([[2, 1], [1, 3]])
    fast = sp.lambdify((x, y), sp.sin(x) * y, "numpy")
    return {
        "integral": str(sp.integrate(sp.exp(-(x**2)), (x, -sp.oo, sp.oo))),
        "solved": str(sp.solve([x + y - 3, x * y - 2], [x, y])),
        "series": str(sp.series(sp.tan(x), x, 0, 6)),
        "factor": str(sp.factor(x**4 - 1)),
        "eigenvalues": sorted(map(str, matrix.eigenvals())),
        "limit": str(sp.limit(sp.sin(x) / x, x, 0)),
        "digits": str(sp.N(sp.pi, 50)),
        "primes": sp.factorint(2**61 - 3),
        "number": round(float(fast(1.0, 2.0)), 10),
        "latex": sp.latex(sp.sqrt(x) / 2),
        "parsed": str(sp.sympify("2*x + x")),
    }


@check("gmpy2")
def check_gmpy2():
    import gmpy2

    with gmpy2.context(precision=200) as context:
        root = str(gmpy2.sqrt(gmpy2.mpfr(2)))
        inexact = context.inexact
    with gmpy2.context(trap_divzero=True):
        try:
            gmpy2.mpfr(1) / 0
        except gmpy2.DivisionByZeroError as error:
            message = type(error).__name__
    return {
        "power": str(gmpy2.mpz(3) ** 200 % gmpy2.mpz(10**40)),
        "prime": (gmpy2.is_prime(2**89 - 1), int(gmpy2.next_prime(10**18))),
        "inverse": int(gmpy2.invert(17, 10**9 + 7)),
        "fraction": str(gmpy2.mpq(3, 4) + gmpy2.mpq("1/6")),
        "root": root,
        "inexact": inexact,
        "complex": str(gmpy2.sqrt(gmpy2.mpc(-4))),
        "binary": gmpy2.to_binary(gmpy2.mpz(-(2**70))),
        "formatted": f"{gmpy2.mpfr('1.5'):.3f}",
        "error": message,
    }


@check("networkx")
def check_networkx():
    import networkx as nx

    graph = nx.karate_club_graph()
    roads = nx.DiGraph()
    roads.add_weighted_edges_from([("a", "b", 3), ("b", "c", 4), ("a", "c", 9), ("c", "d", 1)], weight="capacity")
    return {
        "rank": [round(value, 5) for value in nx.pagerank(graph).values()][:5],
        "path": nx.dijkstra_path(roads, "a", "d", weight="capacity"),
        "flow": nx.maximum_flow_value(roads, "a", "d"),
        "communities": sorted(len(part) for part in nx.community.greedy_modularity_communities(graph)),
        "matrix": nx.to_numpy_array(roads, weight="capacity"),
        "layout": [position.round(4).tolist() for position in nx.spring_layout(roads, seed=1).values()],
        "order": list(nx.topological_sort(roads)),
        "laplacian": nx.laplacian_spectrum(graph)[-3:].round(6),
        "graphml": len("".join(nx.generate_graphml(roads))),
    }


@check("astropy")
def check_astropy():
    import io

    import astropy.units as u
    import numpy as np
    from astropy.convolution import Gaussian1DKernel, convolve
    from astropy.coordinates import SkyCoord
    from astropy.cosmology import FlatLambdaCDM
    from astropy.io import fits
    from astropy.stats import sigma_clip
    from astropy.table import Table
    from astropy.time import Time
    from astropy.wcs import WCS

    stars = SkyCoord([10.6, 83.8] * u.deg, [41.3, -5.4] * u.deg)
    galactic = stars.galactic
    wcs = WCS(naxis=2)
    wcs.wcs.crpix, wcs.wcs.cdelt, wcs.wcs.crval = [50, 50], [-0.01, 0.01], [10, 40]
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    image = np.arange(4096, dtype="i4").reshape(64, 64)
    file = io.BytesIO()
    fits.HDUList(
        [fits.PrimaryHDU(header=wcs.to_header()), fits.CompImageHDU(image, compression_type="RICE_1")]
    ).writeto(file)
    with fits.open(io.BytesIO(file.getvalue())) as stored:
        same = bool((stored[1].data == image).all())
        projection = stored[0].header["CTYPE1"]
    table = Table({"name": ["a", "b", "a"], "v": [1.0, 2.0, 3.0]})
    text = io.StringIO()
    table.write(text, format="ascii.ecsv")
    noisy = np.r_[np.sin(np.arange(20.0)), 50]
    try:
        (3 * u.m).to(u.s)
    except u.UnitConversionError as error:
        message = str(error)
    return {
        "galactic": np.round([galactic.l.deg, galactic.b.deg], 6),
        "separation": round(float(stars[0].separation(stars[1]).deg), 6),
        "text": stars[0].to_string("hmsdms", precision=2),
        "time": (Time("2020-02-29T12:00:00", scale="utc").tdb.iso, float(Time(2451545.0, format="jd").decimalyear)),
        "sky": np.round(wcs.pixel_to_world_values([10, 60], [20, 70]), 8),
        "fits": (same, projection),
        "units": round(float((1 * u.AU).to_value(u.lyr)), 12),
        "smoothed": convolve(noisy, Gaussian1DKernel(2), boundary="extend")[5:9].round(8),
        "clipped": int(sigma_clip(noisy, sigma=3).mask.sum()),
        "age": round(float(FlatLambdaCDM(H0=70, Om0=0.3).age(1).value), 5),
        "read": Table.read(text.getvalue(), format="ascii.ecsv")
        .group_by("name")
        .groups.aggregate(np.sum)["v"]
        .tolist(),
        "error": message,
    }


@check("shapely")
def check_shapely():
    import numpy as np
    import shapely
    from shapely import affinity, geometry, prepared

    disks = shapely.buffer(shapely.points([[0, 0], [1, 0], [5, 5]]), 1.0)
    hole = geometry.Polygon([(0, 0), (6, 0), (6, 6), (0, 6)], [[(2, 2), (4, 2), (4, 4), (2, 4)]])
    tree = shapely.STRtree(disks)
    joined = shapely.union_all(disks)
    try:
        shapely.from_wkt("POINT (1")
    except shapely.errors.GEOSException as error:
        message = str(error)
    return {
        "areas": shapely.area(disks).round(8),
        "union": (joined.geom_type, len(joined.geoms), round(joined.area, 8)),
        "difference": round(hole.difference(disks[0]).area, 8),
        "tree": tree.query(geometry.box(0.5, 0.5, 4.5, 4.5), predicate="intersects").tolist(),
        "nearest": tree.nearest(shapely.points([[4, 4], [0, 1]])),
        "wkb": shapely.to_wkb(hole),
        "geojson": shapely.to_geojson(hole),
        "valid": shapely.is_valid_reason(geometry.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])),
        "inside": prepared.prep(hole).contains(geometry.Point(1, 1)),
        "voronoi": round(shapely.voronoi_polygons(shapely.multipoints([[0, 0], [2, 0], [1, 2]])).area, 6),
        "turned": affinity.rotate(hole, 45).bounds[0].__round__(8),
        "moved": shapely.transform(hole, lambda x, y: (x + 1, y * 2), interleaved=False).wkt,
        "coordinates": shapely.transform(geometry.Point(1, 2), lambda c: np.flip(c)).wkt,
        "error": message,
    }


@check("pyproj")
def check_pyproj():
    import numpy as np
    import pyproj

    mercator = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3857", always_xy=True)
    utm = pyproj.Transformer.from_crs(4326, 32629, always_xy=True)
    geod = pyproj.Geod(ellps="WGS84")
    x, y = utm.transform(np.array([-9.1, -8.6]), np.array([38.7, 41.1]))
    try:
        pyproj.CRS("EPSG:1")
    except pyproj.exceptions.CRSError as error:
        message = type(error).__name__
    return {
        "mercator": np.round(mercator.transform(-9.1, 38.7), 4),
        "utm": np.round([x, y], 4),
        "back": np.round(utm.transform(x, y, direction="INVERSE"), 8),
        "distance": np.round(geod.inv(-9.1, 38.7, 2.35, 48.85), 4),
        "area": round(geod.polygon_area_perimeter([0, 1, 1], [0, 0, 1])[0], 1),
        "name": pyproj.CRS(3035).name,
        "zone": pyproj.database.query_utm_crs_info("WGS 84", pyproj.aoi.AreaOfInterest(-9, 38, -8.9, 38.1))[0].code,
        "proj": pyproj.Proj("+proj=laea +lat_0=52 +lon_0=10")(12, 50)[0].__round__(4),
        "bounds": np.round(mercator.transform_bounds(-10, 35, 0, 45), 2),
        "axes": [axis.abbrev for axis in pyproj.CRS(4326).axis_info],
        "error": message,
    }


def _places():
    import geopandas as gpd
    from shapely.geometry import Point

    names = ["Lisboa", "Porto", "Faro"]
    return gpd.GeoDataFrame(
        {"name": names, "size": [545, 231, 64]},
        geometry=[Point(-9.14, 38.72), Point(-8.61, 41.15), Point(-7.93, 37.02)],
        crs="EPSG:4326",
    )


@check("geopandas")
def check_geopandas():
    import geopandas as gpd
    from shapely.geometry import box

    places = _places()
    flat = places.to_crs(3763)
    regions = gpd.GeoDataFrame(
        {"part": ["north", "south"]}, geometry=[box(-10, 39.5, -6, 42), box(-10, 36, -6, 39.5)], crs=4326
    )
    square = gpd.GeoDataFrame(geometry=[box(-9, 39, -8, 40)], crs=4326)
    joined = places.sjoin(regions, predicate="within")
    return {
        "flat": flat.get_coordinates().round(3).to_numpy(),
        "joined": joined.groupby("part")["size"].sum().to_dict(),
        "nearest": flat.sjoin_nearest(flat.iloc[[0]])["index_right"].tolist(),
        "distance": flat.distance(flat.geometry.iloc[0]).round(3).to_numpy(),
        "dissolved": regions.dissolve().total_bounds,
        "overlay": gpd.overlay(regions, square).get_coordinates().to_numpy(),
        "clipped": places.clip(box(-10, 38, -8.5, 42))["name"].sort_values().tolist(),
        "buffered": flat.buffer(1000).area.round(1).to_numpy(),
        "json": places.to_json(),
    }


@check("pyogrio")
def check_pyogrio():
    import os
    import tempfile

    import pyogrio

    places = _places()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, driver in (
            ("p.gpkg", "GPKG"),
            ("p.geojson", "GeoJSON"),
            ("p.fgb", "FlatGeobuf"),
            ("p.shp", "ESRI Shapefile"),
        ):
            path = os.path.join(folder, name)
            pyogrio.write_dataframe(places, path, driver=driver)
            again = pyogrio.read_dataframe(path, where="size > 100").sort_values("name")
            info = pyogrio.read_info(path)
            results[driver] = (
                again["name"].tolist(),
                again.total_bounds.round(6),
                info["features"],
                info["geometry_type"],
                info["crs"],
            )
        path = os.path.join(folder, "p.gpkg")
        results["sql"] = pyogrio.read_dataframe(path, sql="select sum(size) s from p")["s"].tolist()
        results["box"] = pyogrio.read_dataframe(path, bbox=(-9, 40, -8, 42))["name"].tolist()
        results["layers"] = pyogrio.list_layers(path).tolist()
        try:
            pyogrio.read_dataframe(os.path.join(folder, "nothing.gpkg"))
        except pyogrio.errors.DataSourceError as error:
            results["error"] = type(error).__name__
    return results

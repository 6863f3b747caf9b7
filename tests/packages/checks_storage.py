"""Arrays in files and the codecs that pack them."""

import threading

from checks_registry import check

# netCDF4 and tables require that the caller lets in one thread at a time. Each interpreter has its own copy of this
# module, and so its own lock.
_ONE_THREAD = threading.Lock()


@check("h5py")
def check_h5py():
    import pathlib
    import tempfile

    import h5py
    import numpy as np

    seen = []
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "data.h5")
        with h5py.File(path, "w") as file:
            group = file.create_group("group")
            group.attrs["unit"] = "µm"
            group.create_dataset("zip", data=np.arange(1000).reshape(50, 20), chunks=(10, 20), compression="gzip")
            group.create_dataset("lzf", data=np.linspace(0, 1, 500), compression="lzf", shuffle=True, fletcher32=True)
            group.create_dataset("words", data=["one", "zwei", "três"], dtype=h5py.string_dtype())
            grown = group.create_dataset("grown", (0,), maxshape=(None,), dtype=[("n", "i4"), ("x", "f8")])
            grown.resize((3,))
            grown[:] = [(1, 0.5), (2, 1.5), (3, 2.5)]
            file["link"] = h5py.SoftLink("/group/zip")
        with h5py.File(path) as file:
            file.visititems(lambda name, item: seen.append((name, type(item).__name__)))
            try:
                file["nothing"]
            except KeyError as error:
                message = str(error)
            return {
                "seen": seen,
                "unit": file["group"].attrs["unit"],
                "slice": file["link"][10:40:10, [1, 5]],
                "lzf": file["group/lzf"][::100],
                "words": file["group/words"].asstr()[:].tolist(),
                "records": file["group/grown"][:].tolist(),
                "chunks": file["group/zip"].chunks,
                "error": message,
            }


@check("netCDF4")
def check_netcdf4():
    import os
    import tempfile

    import netCDF4
    import numpy as np

    with _ONE_THREAD, tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "data.nc")
        with netCDF4.Dataset(path, "w") as data:
            data.title = "Größe"
            data.createDimension("time", None)
            data.createDimension("x", 5)
            time = data.createVariable("time", "f8", ("time",))
            time.units, time.calendar = "hours since 2024-02-28", "standard"
            time[:] = [0, 24, 48]
            values = data.createVariable("values", "f4", ("time", "x"), compression="zlib", fill_value=-9)
            values[:] = np.ma.masked_equal(np.arange(15).reshape(3, 5), 7)
            data.createVariable("words", str, ("x",))[:] = np.array(["a", "bb", "ç", "", "e"], dtype=object)
            packed = data.createGroup("inner").createVariable("packed", "i2", ("x",))
            packed.scale_factor = 0.5
            packed[:] = [0.5, 1, 1.5, 2, 2.5]
        with netCDF4.Dataset(path) as data:
            dates = netCDF4.num2date(data["time"][:], data["time"].units, data["time"].calendar)
            return {
                "title": data.title,
                "values": data["values"][:].filled(-1),
                "words": data["words"][:].tolist(),
                "packed": data["inner/packed"][:].filled(0),
                "dates": [str(date) for date in dates],
                "format": data.data_model,
                "unlimited": data.dimensions["time"].isunlimited(),
                "filters": data["values"].filters()["zlib"],
            }


@check("tables")
def check_tables():
    import os
    import tempfile

    import numpy as np
    import tables

    class Particle(tables.IsDescription):
        name = tables.StringCol(8, pos=0)
        n = tables.Int32Col(pos=1)
        energy = tables.Float64Col(pos=2)

    with _ONE_THREAD, tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "data.h5")
        with tables.open_file(path, "w") as file:
            particles = file.create_table("/", "particles", Particle, filters=tables.Filters(5, "blosc:zstd"))
            row = particles.row
            for i in range(500):
                row["name"], row["n"], row["energy"] = f"p{i % 7}", i, i * 0.25
                row.append()
            particles.flush()
            particles.cols.n.create_index()
            file.create_carray("/", "grid", obj=np.arange(400).reshape(20, 20), filters=tables.Filters(3, "bzip2"))
            ragged = file.create_vlarray("/", "ragged", tables.Int16Atom())
            ragged.append([1, 2, 3])
            ragged.append([4])
            file.create_earray("/", "grown", tables.Float32Atom(), (0, 2)).append(np.ones((3, 2), "f4"))
        with tables.open_file(path) as file:
            particles = file.root.particles
            return {
                "query": particles.read_where("(energy > 20) & (name == b'p3') & (n < 150)").tolist(),
                "indexed": [row["n"] for row in particles.where("(n >= 10) & (n < 14)")],
                "is indexed": particles.cols.n.is_indexed,
                "grid": file.root.grid[3:6, ::5],
                "ragged": [part.tolist() for part in file.root.ragged],
                "grown": file.root.grown[:],
                "nodes": sorted(node._v_pathname for node in file.walk_nodes()),
            }


@check("zarr")
def check_zarr():
    import numpy as np
    import zarr

    root = zarr.group(store=zarr.storage.MemoryStore(), zarr_format=3)
    root.attrs["unit"] = "K"
    a = root.create_array("a", shape=(100, 60), chunks=(30, 20), dtype="f8", compressors=zarr.codecs.BloscCodec())
    a[:] = np.arange(6000.0).reshape(100, 60)
    a[10:20, ::2] = -1
    sharded = root.create_array(
        "s", shape=(64,), chunks=(8,), shards=(32,), dtype="i4", compressors=zarr.codecs.ZstdCodec()
    )
    sharded[:] = np.arange(64)
    a.resize((110, 60))
    return {
        "slice": a[8:12, :6],
        "points": a.oindex[[1, 50], [3, 40]],
        "filled": a[105, 0].item(),
        "sharded": sharded[5:40:7],
        "names": sorted(root.array_keys()),
        "unit": root.attrs["unit"],
        "chunks": a.nchunks_initialized,
    }


@check("numcodecs")
def check_numcodecs():
    import numcodecs
    import numpy as np

    a = np.arange(2000, dtype="i4")
    sizes = {}
    for codec in (
        numcodecs.Blosc("zstd", 5, numcodecs.Blosc.BITSHUFFLE),
        numcodecs.Blosc("lz4"),
        numcodecs.Zstd(3),
        numcodecs.LZ4(),
        numcodecs.Zlib(),
        numcodecs.BZ2(),
        numcodecs.CRC32(),
        numcodecs.Fletcher32(),
        numcodecs.Shuffle(4),
        numcodecs.Delta("i4"),
    ):
        packed = codec.encode(a)
        unpacked = np.frombuffer(codec.decode(packed), "i4")
        sizes[str(codec)] = (len(memoryview(packed).cast("B")), bool((unpacked == a).all()))
    words = np.array(["one", "zwei", "três"], dtype=object)
    strings = numcodecs.VLenUTF8()
    try:
        numcodecs.Zstd().decode(b"not packed")
    except RuntimeError as error:
        message = str(error)
    return sizes, strings.decode(strings.encode(words)).tolist(), message


@check("blosc2")
def check_blosc2():
    import blosc2
    import numpy as np

    a = blosc2.asarray(np.arange(10_000, dtype="f8").reshape(100, 100), chunks=(40, 50), blocks=(10, 10))
    b = blosc2.linspace(0, 1, 10_000, shape=(100, 100))
    chunks = blosc2.SChunk(chunksize=4000, cparams={"codec": blosc2.Codec.ZSTD, "clevel": 5, "typesize": 4})
    for i in range(3):
        chunks.append_data(np.full(1000, i, dtype="i4"))
    chunks.vlmeta["name"] = "drei"
    again = blosc2.schunk_from_cframe(chunks.to_cframe(), copy=True)
    packed = blosc2.compress2(bytes(range(250)) * 40, codec=blosc2.Codec.LZ4)
    return {
        "slice": a[38:42, 45:55:3],
        "expression": (a * 2 + blosc2.sin(b))[::25, ::50].round(8),
        "sum": round(float((a + b).sum()), 4),
        "chunks": [int(np.frombuffer(chunk, "i4").sum()) for chunk in again.iterchunks(np.dtype("i4"))],
        "meta": again.vlmeta["name"],
        "unpacked": blosc2.decompress2(packed) == bytes(range(250)) * 40,
        "tensor": blosc2.unpack_tensor(blosc2.pack_tensor(np.eye(3))),
    }

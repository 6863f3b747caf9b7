"""Tables, columns and databases."""

from checks_registry import check


@check("pandas")
def check_pandas():
    import io

    import numpy as np
    import pandas as pd

    frame = pd.DataFrame(
        {
            "key": list("abcab") * 4,
            "value": np.arange(20.0) ** 1.5,
            "time": pd.date_range("2024-02-27", periods=20, freq="7h", tz="Europe/Lisbon"),
            "kind": pd.Categorical(["x", "y", None, "x"] * 5),
        }
    )
    text = frame.to_csv(index=False)
    again = pd.read_csv(io.StringIO(text), dtype={"key": "category"})
    grouped = frame.groupby("key", observed=True)["value"]
    return {
        "csv": text,
        "read": again.dtypes.astype(str).to_dict(),
        "grouped": grouped.agg(["sum", "median", lambda part: part.iloc[-1]]).round(8).to_numpy(),
        "rolling": frame.set_index("time")["value"].rolling("1D").mean().round(8).to_numpy(),
        "resampled": frame.resample("D", on="time")["value"].count().to_dict().__repr__(),
        "pivot": frame.pivot_table(index="key", columns="kind", values="value", observed=True).round(8).to_numpy(),
        "merged": frame.merge(frame.head(3), on="key", suffixes=("", "_r")).shape,
        "json": frame[["key", "value"]].head(3).to_json(orient="records"),
        "strings": frame["key"].str.upper().str.cat(sep="-"),
        "query": frame.query("value > 50 and key == 'a'").index.tolist(),
        "integers": pd.array([1, None, 3], dtype="Int64").sum().item(),
        "interval": pd.cut(frame["value"], 3).astype(str).value_counts().sort_index().to_dict(),
        "hash": pd.util.hash_pandas_object(frame["key"])[:3].to_numpy(),
        "text": str(frame.head(3)),
    }


@check("polars")
def check_polars():
    import datetime
    import io

    import polars as pl

    frame = pl.DataFrame(
        {
            "key": list("abcabcab"),
            "value": [1.5, None, 2.5, 4.0, 8.0, 16.0, 0.5, 1.0],
            "day": [datetime.date(2024, 2, 25 + i % 5) for i in range(8)],
        }
    )
    names = pl.LazyFrame({"key": ["a", "b", "d"], "name": ["anna", "bernd", "dora"]})
    query = (
        frame.lazy()
        .filter(pl.col("value").is_not_null())
        .group_by("key")
        .agg(pl.col("value").sum().alias("sum"), pl.len(), pl.col("day").max().dt.to_string().alias("last"))
        .join(names, on="key", how="left")
        .with_columns(pl.col("name").map_elements(lambda s: sum(map(ord, s)), return_dtype=pl.Int64).alias("score"))
        .sort("key")
    )
    file = io.BytesIO()
    frame.write_parquet(file, compression="zstd")
    file.seek(0)
    try:
        frame.select("nothing")
    except pl.exceptions.ColumnNotFoundError as error:
        message = type(error).__name__
    return {
        "query": query.collect().rows(),
        "plan": "JOIN" in query.explain(),
        "sql": pl.SQLContext(frame=frame)
        .execute("select key, count(*) n from frame group by key order by n, key")
        .collect()
        .rows(),
        "window": frame.select(pl.col("value").fill_null(0).cum_sum().over("key")).to_series().to_list(),
        "batches": frame.select(pl.col("value").map_batches(lambda s: s * 2, return_dtype=pl.Float64)).rows(),
        "parquet": pl.read_parquet(file).equals(frame),
        "csv": frame.write_csv(),
        "regex": frame.select(pl.col("key").str.replace("(a|b)", "<$1>")).to_series().to_list(),
        "numpy": frame["value"].drop_nulls().to_numpy(),
        "error": message,
    }


@check("pyarrow")
def check_pyarrow():
    import io
    import uuid

    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv
    import pyarrow.dataset
    import pyarrow.parquet as pq

    class Celsius(pa.ExtensionType):
        def __init__(self, scale, name):
            self.scale = scale
            super().__init__(pa.float64(), name)

        def __arrow_ext_serialize__(self):
            return str(self.scale).encode()

        @classmethod
        def __arrow_ext_deserialize__(cls, storage_type, serialized):
            return cls(int(serialized), name)

    name = f"owngil.{uuid.uuid4()}"  # the process has one registry of names
    table = pa.table({"key": list("abcab"), "n": [1, 2, None, 4, 5], "parts": [[1], [2, 3], None, [], [4]]})
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd", row_group_size=2)
    file.seek(0)
    frame = table.drop_columns("parts").to_pandas()

    pa.register_extension_type(Celsius(3, name))
    try:
        degrees = pa.ExtensionArray.from_storage(Celsius(5, name), pa.array([1.5, None]))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, pa.schema([("t", degrees.type)])) as stream:
            stream.write_batch(pa.record_batch([degrees], ["t"]))
        back = pa.ipc.open_stream(sink.getvalue()).read_all()["t"]
        extension = (type(back.type).__name__, back.type.scale, back.to_pylist())
    finally:
        pa.unregister_extension_type(name)

    try:
        pc.add(pa.array(["a"]), 1)
    except pa.ArrowNotImplementedError as error:
        message = str(error)
    return {
        "grouped": table.group_by("key").aggregate([("n", "sum"), ("n", "count")]).sort_by("key").to_pylist(),
        "joined": table.drop_columns("parts")
        .join(pa.table({"key": ["a"], "x": [7]}), "key", join_type="inner")
        .num_rows,
        "filtered": table.filter(pc.greater(table["n"], 1)).to_pydict(),
        "parquet": pq.read_table(file).equals(table),
        "groups": pq.ParquetFile(file).num_row_groups,
        "dataset": pa.dataset.dataset(table).to_table(filter=pc.field("key") == "a")["n"].to_pylist(),
        "pandas": pa.Table.from_pandas(frame, preserve_index=False)["key"].to_pylist(),
        "numpy": frame["n"].to_numpy(),
        "csv": pa.csv.read_csv(pa.py_buffer(b"a,b\n1,x\n2,y\n")).to_pydict(),
        "extension": extension,
        "error": message,
    }


@check("duckdb")
def check_duckdb():
    import duckdb
    import pandas as pd

    frame = pd.DataFrame({"key": list("abcab"), "value": [1.5, 2.5, None, 4.0, 8.0]})

    def shout(word: str, times: int) -> str:
        return word.upper() * times

    with duckdb.connect(":memory:") as connection:
        connection.create_function("shout", shout, ["VARCHAR", "INTEGER"], "VARCHAR")
        connection.execute("create table t (n integer, tags varchar[])")
        connection.executemany("insert into t values (?, ?)", [(1, ["x"]), (2, ["y", "z"]), (3, [])])
        connection.register("given", frame)
        try:
            connection.execute("select * from nothing")
        except duckdb.CatalogException as error:
            message = type(error).__name__
        return {
            "grouped": connection.execute("select key, sum(value) from given group by key order by key").fetchall(),
            "local name": connection.sql("select max(value) from frame").fetchall(),
            "function": connection.sql("select shout(key, 2) from given order by 1").fetchall(),
            "frame": connection.sql("select n, len(tags) as k from t order by n").df().to_numpy(),
            "columns": connection.sql("select range as r, r * r as q from range(5)").fetchnumpy()["q"].tolist(),
            "window": connection.sql("select n, lag(n) over (order by n) from t order by n").fetchall(),
            "types": connection.sql("select date '2024-02-29', 1.25::decimal(6, 3), {'a': [1, null]}").fetchall(),
            "error": message,
        }


@check("SQLAlchemy")
def check_sqlalchemy():
    import sqlalchemy as sa
    from sqlalchemy import orm

    class Base(orm.DeclarativeBase):
        pass

    class Author(Base):
        __tablename__ = "author"
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        name: orm.Mapped[str] = orm.mapped_column(sa.String(30), unique=True)
        books: orm.Mapped[list["Book"]] = orm.relationship(back_populates="author", order_by="Book.year")

    class Book(Base):
        __tablename__ = "book"
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        title: orm.Mapped[str]
        year: orm.Mapped[int]
        author_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("author.id"))
        author: orm.Mapped[Author] = orm.relationship(back_populates="books")

    Base.registry.configure()
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    try:
        Base.metadata.create_all(engine)
        with orm.Session(engine) as session:
            session.add(
                Author(name="Eça", books=[Book(title="Os Maias", year=1888), Book(title="A Relíquia", year=1887)])
            )
            session.add(Author(name="Camões", books=[Book(title="Os Lusíadas", year=1572)]))
            session.commit()
            counts = (
                sa.select(Author.name, sa.func.count(Book.id)).join(Book).group_by(Author.name).order_by(Author.name)
            )
            author = session.scalars(sa.select(Author).where(Author.name.like("E%"))).one()
            result = {
                "counts": [tuple(row) for row in session.execute(counts)],
                "books": [book.title for book in author.books],
                "statement": str(counts),
                "mapping": dict(session.execute(sa.text("select min(year) y, max(year) z from book")).mappings().one()),
            }
            session.add(Author(name="Eça"))
            try:
                session.flush()
            except sa.exc.IntegrityError as error:
                result["error"] = str(error.orig)
        return result
    finally:
        engine.dispose()


@check("psycopg-binary")
def check_psycopg():
    import datetime
    import decimal
    import socket

    import psycopg
    from psycopg import conninfo, pq, sql
    from psycopg.adapt import PyFormat, Transformer

    values = [
        1,
        2**40,
        1.5,
        "é",
        b"\0\xff",
        True,
        None,
        datetime.date(2024, 2, 29),
        decimal.Decimal("1.50"),
        [1, None, 3],
    ]
    transformer = Transformer()
    dumped = transformer.dump_sequence(values, [PyFormat.AUTO] * len(values))
    oid = psycopg.adapters.types["int4"].array_oid
    names = sql.SQL(", ").join(map(sql.Identifier, ["a", 'b"c']))
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # without listen()
        try:
            psycopg.connect(f"host=127.0.0.1 port={bound.getsockname()[1]} user=nobody connect_timeout=5")
        except psycopg.OperationalError as error:
            refused = "refused" in str(error)
    return {
        "implementation": pq.__impl__,
        "dumped": [None if value is None else bytes(value) for value in dumped],
        "array": transformer.get_loader(oid, pq.Format.TEXT).load(b"{1,NULL,3}"),
        "date": transformer.get_loader(psycopg.adapters.types["date"].oid, pq.Format.TEXT).load(b"2024-02-29"),
        "literals": [sql.Literal(value).as_string() for value in values],
        "query": sql.SQL("select {} from {} where x = %s").format(names, sql.Identifier("t")).as_string(),
        "conninfo": conninfo.conninfo_to_dict("postgresql://me:p%40ss@host:5433/db?sslmode=require"),
        "made": conninfo.make_conninfo("dbname=a", user="it's me"),
        "escaped": bytes(pq.Escaping().escape_bytea(b"\0a")),
        "refused": refused,
    }

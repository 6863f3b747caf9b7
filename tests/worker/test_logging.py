"""Records of workers arrive at the caller's loggers before the task's result, and the caller's settings apply."""

import logging
import time

import pytest

import owngil


class Records(logging.Handler):
    def __init__(self):
        super().__init__()
        self.seen = []

    def emit(self, record):
        self.seen.append(record)


@pytest.fixture
def records():
    """The records that reach the caller's root logger, which takes INFO and above."""
    handler = Records()
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler.seen
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def worker():
    """A new worker, because a task's changes to its logging last."""
    with owngil.Interpreter("w") as it:
        yield it


def messages(records):
    return [record.getMessage() for record in records]


def test_a_record_arrives_with_all_its_attributes(worker, records):
    def talk():
        logging.getLogger("one.two").error("%s is %d", "x", 5, extra={"user": "me", "ids": [1, 2]})

    before = time.time()
    worker.call(talk)
    (record,) = records
    assert (record.name, record.levelno, record.levelname) == ("one.two", logging.ERROR, "ERROR")
    assert (record.getMessage(), record.threadName) == ("x is 5", "w")
    assert (record.user, record.ids) == ("me", [1, 2])
    assert (record.funcName, record.pathname, record.filename) == ("talk", __file__, "test_logging.py")
    assert record.lineno == talk.__code__.co_firstlineno + 1
    assert before <= record.created <= time.time()
    assert 0 < record.relativeCreated <= (time.time() - before) * 1000 + logging.makeLogRecord({}).relativeCreated


def test_the_traceback_of_an_exception_arrives_as_text(worker, records):
    def fail():
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError:
            logging.getLogger().exception("it failed", stack_info=True)

    worker.call(fail)
    (record,) = records
    text = logging.Formatter("%(message)s").format(record)
    assert text.startswith("it failed\nTraceback (most recent call last):\n")
    assert "1 / 0" in text
    assert "ZeroDivisionError: division by zero\nStack (most recent call last):\n" in text


def test_functions_of_the_module_log_to_the_callers_root(worker, records, capsys):
    worker.call(lambda: [logging.warning("one"), logging.info("two"), logging.debug("three")])
    assert messages(records) == ["one", "two"]
    assert capsys.readouterr().err == ""


def test_logging_that_a_module_uses_while_it_is_imported(tmp_path, monkeypatch, records):
    (tmp_path / "logs_at_import.py").write_text("import logging\nlogging.getLogger(__name__).warning('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with owngil.Interpreter() as it:
        it.exec("import sys; assert 'logging' not in sys.modules, 'a plain worker does without'; import logs_at_import")
    assert [(record.name, record.getMessage()) for record in records] == [("logs_at_import", "imported")]


def test_an_initializers_records_arrive(records):
    with owngil.Pool(1, initializer=logging.warning, initargs=("ready",)) as pool:
        pool.submit(abs, 1).result()
        assert messages(records) == ["ready"]


def test_records_of_many_workers_arrive_before_their_results(records):
    def talk(number):
        for _ in range(50):
            logging.getLogger(f"n{number}").info("x")

    with owngil.Pool(2) as pool:
        for future, number in [(pool.submit(talk, number), number) for number in range(6)]:
            future.result()
            assert sum(record.name == f"n{number}" for record in records) == 50


# The caller decides


def test_the_callers_levels_apply_as_they_change(worker, records):
    def talk():
        for name in ("a", "b"):
            logging.getLogger(name).debug("debug")
            logging.getLogger(name).error("error")

    worker.call(talk)
    logging.getLogger("a").setLevel(logging.DEBUG)
    try:
        worker.call(talk)
        logging.getLogger("b").setLevel(logging.CRITICAL)
        worker.call(talk)
        logging.disable(logging.ERROR)
        worker.call(talk)
    finally:
        logging.disable(logging.NOTSET)
        for name in ("a", "b"):
            logging.getLogger(name).setLevel(logging.NOTSET)
    assert [(record.name, record.getMessage()) for record in records] == [
        *(("a", "error"), ("b", "error")),
        *(("a", "debug"), ("a", "error"), ("b", "error")),
        *(("a", "debug"), ("a", "error")),
    ]


def test_a_running_task_notices_a_change_of_level(worker, records):
    def talk(ready, go_on):
        logger = logging.getLogger("long")
        logger.debug("before")
        ready.send(logger.isEnabledFor(logging.DEBUG))
        go_on.recv(300)
        logger.debug("after")

    ready, go_on = owngil.Channel(), owngil.Channel()
    future = worker.submit(talk, ready, go_on)
    assert ready.recv(300) is False
    logging.getLogger("long").setLevel(logging.DEBUG)
    try:
        go_on.send(None)
        future.result()
    finally:
        logging.getLogger("long").setLevel(logging.NOTSET)
    assert messages(records) == ["after"]


def test_a_worker_sees_the_callers_level(worker, records):
    def levels():
        return logging.getLogger().level, logging.getLogger("x").getEffectiveLevel(), logging.root.handlers != []

    assert worker.call(levels) == (logging.INFO, logging.INFO, True)
    logging.getLogger().setLevel(logging.ERROR)
    assert worker.call(levels) == (logging.ERROR, logging.ERROR, True)


def test_the_callers_filters_and_propagation_apply(worker, records):
    logger = logging.getLogger("filtered")
    own = Records()
    logger.addHandler(own)
    logger.propagate = False
    logger.addFilter(lambda record: "drop" not in record.getMessage())
    try:
        worker.call(lambda: [logging.getLogger("filtered").error(text) for text in ("keep", "drop")])
    finally:
        logger.handlers.clear()
        logger.filters.clear()
        logger.propagate = True
    assert (messages(own.seen), records) == (["keep"], [])


# Objects that cannot be sent


def test_objects_that_cannot_be_pickled_arrive_as_text(worker, records):
    def talk():
        class Odd:
            def __repr__(self):
                return "<odd>"

            def __reduce__(self):
                raise TypeError("never")

        class Worse(Odd):
            def __repr__(self):
                raise ValueError

        logging.getLogger().error("%s and %d", Odd(), 5, extra={"odd": Odd(), "worse": Worse(), "good": {1}})
        logging.getLogger().error(Odd())
        logging.getLogger().error("%d", "no number")
        logging.getLogger().error("%s", Worse())

    worker.call(talk)
    assert messages(records) == [
        "<odd> and 5",
        "<odd>",
        "%d ('no number',) (cannot be merged: TypeError)",
        "%s (arguments that cannot be shown) (ValueError) (cannot be merged: ValueError)",
    ]
    assert (records[0].odd, records[0].good) == ("<odd>", {1})
    assert records[0].worse.endswith("Worse) (ValueError)")


def test_an_object_that_cannot_be_rebuilt_does_not_lose_the_record(worker, records):
    worker.exec("""
        class Odd:
            def __reduce__(self):
                return int, ("no number",)
        import logging
        logging.getLogger().error("text", extra={"odd": Odd(), "good": 1})
    """)
    (record,) = records
    assert (record.getMessage(), record.odd, record.good) == ("text", "(an object that cannot be rebuilt here)", 1)


# Tasks that configure logging themselves


def test_a_console_handler_of_a_tasks_own_is_not_duplicated(worker, records, capsys):
    def configure():
        logging.basicConfig(level=logging.DEBUG, format="own %(levelname)s %(message)s")

    worker.call(configure)
    worker.call(lambda: logging.getLogger("x").debug("text"))
    assert capsys.readouterr().err == "own DEBUG text\n"
    assert records == []


def test_a_file_handler_of_a_tasks_own_works_beside(worker, records, tmp_path):
    def configure(path):
        handler = logging.FileHandler(path)
        logging.getLogger("x").addHandler(handler)
        logging.getLogger("x").error("text")
        handler.close()

    worker.call(configure, tmp_path / "log")
    assert (tmp_path / "log").read_text() == "text\n"
    assert messages(records) == ["text"]


def test_a_worker_that_removes_owngils_handler_forwards_no_records(worker, records, capsys):
    worker.call(lambda: logging.basicConfig(force=True, level=logging.INFO, format="own %(message)s"))
    worker.call(lambda: logging.info("text"))
    assert (capsys.readouterr().err, records) == ("own text\n", [])


def test_warnings_that_a_task_captures_are_records(worker, records):
    def work():
        import warnings

        warnings.simplefilter("always")  # pytest has made them errors
        logging.captureWarnings(True)
        warnings.warn("careful", stacklevel=1)
        logging.captureWarnings(False)

    worker.call(work)
    (record,) = records
    assert (record.name, record.levelname) == ("py.warnings", "WARNING")
    assert "UserWarning: careful" in record.getMessage()


# Threads of workers, and nested workers


def test_records_of_a_workers_threads_name_both(worker, records):
    def work():
        import threading

        thread = threading.Thread(target=logging.error, args=("text",), name="helper")
        thread.start()
        thread.join()

    worker.call(work)
    assert [record.threadName for record in records] == ["w helper"]


def test_records_of_a_nested_worker_arrive_at_the_outermost_caller(worker, records):
    def nest():
        with owngil.Interpreter("inner") as it:
            it.call(lambda: logging.getLogger("deep").info("text"))

    worker.call(nest)
    assert [(record.name, record.threadName) for record in records] == [("deep", "w inner")]


def test_a_nested_worker_notices_a_change_of_the_outermost_callers_level(worker, records):
    def nest(ready, go_on):
        with owngil.Interpreter("inner") as it:
            ready.send(it.call(lambda: logging.getLogger().isEnabledFor(logging.DEBUG)))
            go_on.recv(300)
            it.call(lambda: logging.getLogger("deep").debug("text"))

    ready, go_on = owngil.Channel(), owngil.Channel()
    future = worker.submit(nest, ready, go_on)
    assert ready.recv(300) is False
    logging.getLogger().setLevel(logging.DEBUG)
    go_on.send(None)
    future.result()
    assert messages(records) == ["text"]

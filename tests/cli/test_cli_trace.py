"""``owngil trace``: pictures and pages of recordings, and the errors for other files."""

import json
import re
import sys
import xml.etree.ElementTree as ET

import pytest
from PIL import Image

import owngil
from owngil.cli import main


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("recording") / "run.json"
    with owngil.trace(path), owngil.Pool(2, thread_name_prefix="crunch") as pool:
        list(pool.map(abs, range(100), chunksize=5))
        assert pool.submit(int, "x").exception()
    return path


def _made_up(path, events):
    path.write_text(json.dumps({"traceEvents": events}))
    return path


def _task(row, start, duration, name="f()", **args):
    return {"ph": "X", "name": name, "cat": "task", "ts": start, "dur": duration, "pid": 1, "tid": row, "args": args}


def test_a_picture(recording, tmp_path, capsys):
    assert main(["trace", str(recording), "-o", str(tmp_path / "run.png")]) == 0
    assert re.fullmatch(r".*run\.png: 21 tasks in \d rows?, \d\.\d{3} s\n", capsys.readouterr().out)
    with Image.open(tmp_path / "run.png") as image:
        assert image.format == "PNG"
        colours = {colour for _, colour in image.convert("RGB").getcolors(maxcolors=1 << 24)}
        # The function that took most time, start-up, and the mark of failures.
        assert {(0x25, 0x63, 0xEB), (0xE7, 0xE5, 0xE4), (0xDC, 0x26, 0x26)} <= colours


def test_the_default_output_is_beside_the_recording(recording):
    assert main(["trace", str(recording)]) == 0
    assert recording.with_suffix(".png").exists()


def test_svg_and_pdf(recording, tmp_path):
    assert main(["trace", str(recording), "-o", str(tmp_path / "run.svg")]) == 0
    assert ET.parse(tmp_path / "run.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert main(["trace", str(recording), "-o", str(tmp_path / "run.PDF")]) == 0
    assert (tmp_path / "run.PDF").read_bytes().startswith(b"%PDF")


def _data_of(page):
    (text,) = re.findall(r"^const data = (.*);$", page, re.MULTILINE)
    return json.loads(text)


def test_a_page(recording, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # a page needs no matplotlib
    assert main(["trace", str(recording), "-o", str(tmp_path / "run.html")]) == 0
    page = (tmp_path / "run.html").read_text()
    assert not re.search(r"https?:|src=|@import|url\(", page)  # nothing from elsewhere
    data = _data_of(page)
    assert {"MainThread", "crunch-0"} <= {row["label"] for row in data["rows"]}
    assert ["abs()", "task"] in data["names"]
    assert [queue["label"] for queue in data["queues"]] == ["crunch: tasks queued"]
    tasks = [span for row in data["rows"] for span in row["spans"] if data["names"][span[2]][1] == "task"]
    assert (len(tasks), sum(span[3] for span in tasks)) == (21, 1)
    assert all(0 <= span[0] <= span[0] + span[1] <= data["length"] * 1.001 for span in tasks)


def test_names_cannot_break_out_of_a_page(tmp_path):
    path = _made_up(tmp_path / "run.json", [_task(1, 0, 10, name="</script><b>")])
    assert main(["trace", str(path), "-o", str(tmp_path / "run.html")]) == 0
    page = (tmp_path / "run.html").read_text()
    assert page.count("</script>") == 1
    assert _data_of(page)["names"] == [["</script><b>", "task"]]


def test_many_workers_and_tasks(tmp_path, capsys):
    events = [_task(row, k * 1000, 900, name=f"f{k % 15}()") for row in range(64) for k in range(300)]
    path = _made_up(tmp_path / "run.json", events)
    for name in ("run.png", "run.html"):
        assert main(["trace", str(path), "-o", str(tmp_path / name)]) == 0
        assert "19,200 tasks in 64 rows" in capsys.readouterr().out


def test_one_task_is_reported_in_the_singular(tmp_path, capsys):
    path = _made_up(tmp_path / "run.json", [_task(1, 0, 500_000)])
    assert main(["trace", str(path), "-o", str(tmp_path / "run.html")]) == 0
    assert ": 1 task in 1 row, 0.500 s" in capsys.readouterr().out


def test_a_part_of_the_time(tmp_path, capsys):
    path = _made_up(tmp_path / "run.json", [_task(1, k * 1_000_000, 500_000) for k in range(10)])
    assert main(["trace", str(path), "--from", "2.2", "--to", "4.1", "-o", str(tmp_path / "run.html")]) == 0
    assert "3 tasks in 1 row, 1.900 s" in capsys.readouterr().out
    assert _data_of((tmp_path / "run.html").read_text())["length"] == pytest.approx(1.9e6)


def test_a_part_without_ends_is_all(recording, tmp_path, capsys):
    assert main(["trace", str(recording), "-o", str(tmp_path / "all.svg")]) == 0
    everything = capsys.readouterr().out.partition(": ")[2]
    assert main(["trace", str(recording), "-o", str(tmp_path / "part.svg"), "--from=-inf", "--to=inf"]) == 0
    assert capsys.readouterr().out.partition(": ")[2] == everything


def test_events_of_other_phases_are_passed_over(tmp_path):
    more = [{"ph": "b", "name": "x", "cat": "y", "ts": 1, "pid": 1, "tid": 1, "id": 1}]
    assert main(["trace", str(_made_up(tmp_path / "run.json", [_task(1, 0, 10), *more]))]) == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is no JSON: "),
        ("[" * 100_000, "is no JSON: "),
        ("\x00\x01", "is no JSON: "),
        ("[1]", "it has no list of 'traceEvents'"),
        ('{"traceEvents": 3}', "it has no list of 'traceEvents'"),
        ('{"traceEvents": [3]}', "it has no list of 'traceEvents'"),
        ('{"traceEvents": [{"name": "x"}]}', "an event is wrong (no 'ph')"),
        ('{"traceEvents": [{"ph": "X", "name": "x", "cat": "c", "ts": 1, "pid": 1, "tid": 1}]}', "wrong (no 'dur')"),
        (
            '{"traceEvents": [{"ph": "X", "name": "x", "cat": "c", "ts": "1", "pid": 1, "tid": 1, "dur": 1}]}',
            "an event is wrong (unsupported operand",
        ),
        ('{"traceEvents": []}', "nothing happened"),
    ],
)
def test_files_that_are_no_recordings_are_refused(tmp_path, capsys, content, said):
    path = tmp_path / "run.json"
    path.write_text(content)
    assert main(["trace", str(path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("owngil trace: error: ")
    assert said in err
    assert err.count("\n") == 1
    assert not path.with_suffix(".png").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.json"], "nowhere.json cannot be read: No such file"),
        (["{recording}", "-o", "run.txt"], "must end in .png, .svg, .pdf or .html"),
        (["{recording}", "-o", "nowhere/run.png"], "cannot be written"),
        (["{recording}", "--from", "5000"], "nothing happened in that time"),
        (["{recording}", "--from", "0.2", "--to", "0.1"], "nothing happened in that time"),
        (["{recording}", "--from", "nan"], "nothing happened in that time"),
    ],
)
def test_impossible_requests_are_explained(recording, tmp_path, capsys, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert main(["trace", *[word.format(recording=recording) for word in arguments]]) == 2
    assert said in capsys.readouterr().err


def test_without_matplotlib(recording, tmp_path, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "owngil.cli.trace.drawing", raising=False)
    monkeypatch.delattr("owngil.cli.trace.drawing", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.artist", None)
    assert main(["trace", str(recording), "-o", str(tmp_path / "run.png")]) == 2
    assert "pip install 'owngil[cli]'; .html needs nothing" in capsys.readouterr().err

"""However a file is cut, read, packed or shared out among processes, the report is the same."""

import gzip
import io
import json
import multiprocessing
import os
import random
import signal
import time
from contextlib import suppress

import pytest
from tests.dataset.lines import DAMAGE, good_lines

from gemini_tuning.dataset.check import check_dataset
from gemini_tuning.dataset.lines.rules import Rules
from gemini_tuning.dataset.options import Checks
from gemini_tuning.dataset.reading import files, pool, ranges
from gemini_tuning.dataset.reading.pool import scan_all
from gemini_tuning.dataset.reading.scanning import LARGEST_LINE
from gemini_tuning.dataset.reading.source import open_source
from gemini_tuning.dataset.reports.report import DatasetReport, Findings
from gemini_tuning.tuning.models import ModelTable

MODELS = ModelTable.load()
ONE_READING = Checks(second_reading=False)  # the second is made by one process anyway


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    rng = random.Random(9)
    lines = good_lines(9, 1500)
    for _ in range(200):
        line = DAMAGE[rng.choice(list(DAMAGE))][0]
        lines[rng.randrange(len(lines))] = line if len(line) < 2**20 else b"{}"
    lines += [lines[0], lines[1].replace(b": ", b":  "), lines[2]]
    path = tmp_path_factory.mktemp("ranges") / "train.jsonl"
    path.write_bytes(b"\n".join(lines))
    return path


def check(path, processes=0, **settings):
    return check_dataset(
        str(path),
        None,
        base_model="gemini-2.5-flash",
        epochs=1,
        models=MODELS,
        root=None,
        storage=None,
        processes=processes,
        checks=ONE_READING,
        **settings,
    )


@pytest.fixture(scope="module")
def whole(file):
    return check(file)


@pytest.mark.parametrize("length", [1, 100, 5_000, 77_777, 10**9])
@pytest.mark.parametrize("processes", [0, 2])
def test_the_size_of_ranges_makes_no_difference(file, whole, length, processes, monkeypatch):
    if (length, processes) == (1, 2):
        length = 1_000
    monkeypatch.setattr(ranges, "RANGE", length)
    assert check(file, processes) == whole


@pytest.mark.parametrize("length", [100, 3_000, 10**9])
def test_a_stream_is_cut_into_whole_lines(file, length, monkeypatch):
    monkeypatch.setattr(ranges, "RANGE", length)
    content = file.read_bytes()
    tasks = [task.data for task in ranges.of_stream(io.BytesIO(content).read)]
    assert b"".join(tasks) == content
    assert all(task.endswith(b"\n") for task in tasks[:-1])
    assert (len(tasks) > 100) == (length < len(content) // 100)


@pytest.mark.parametrize("processes", [0, 1, 2, 5])
@pytest.mark.parametrize("length", [3_000, 10**9])
def test_gzip_is_the_same_but_for_one_error(file, whole, tmp_path, length, processes, monkeypatch):
    monkeypatch.setattr(ranges, "RANGE", length)
    packed = tmp_path / "train.jsonl"
    packed.write_bytes(gzip.compress(file.read_bytes(), mtime=0))
    report = check(packed, processes)
    strip = [f.model_copy(update={"file": ""}) for f in report.errors + report.warnings if f.code != "compressed"]
    assert strip == [f.model_copy(update={"file": ""}) for f in whole.errors + whole.warnings]
    assert report.counts.by_code == {**whole.counts.by_code, "compressed": 1}
    assert report.statistics == whole.statistics


def test_many_lines_of_one_fault_are_listed_from_the_top_and_counted_to_the_end(tmp_path, monkeypatch):
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"{}\n" * 5000)
    monkeypatch.setattr(ranges, "RANGE", 100)
    for processes in (0, 2):
        report = check(path, processes)
        assert report.counts.by_code["missing-field"] == 5000
        assert [finding.line for finding in report.errors] == list(range(1, 21))


def test_a_line_beyond_all_bounds_is_not_held_in_memory(tmp_path):
    size = 3 * LARGEST_LINE
    blocks = iter([b"{}\n", *[b"x" * 2**20] * (size // 2**20), b"x\n{}", b"\n"])
    tasks = list(ranges.of_stream(lambda _: next(blocks, b"")))
    assert max(len(task.data) for task in tasks) <= LARGEST_LINE + 2**20
    found = list(scan_all(iter(tasks), Rules(), 0))
    assert sum(one.lines for one in found) == 3
    assert [fault.code for one in found for _, fault in one.findings] == [
        "missing-field",
        "line-too-long",
        "missing-field",
    ]


@pytest.fixture
def children(monkeypatch):
    """The programs that are started to take part."""
    children = []
    started = pool.subprocess.Popen

    def start(*arguments, **settings):
        children.append(started(*arguments, **settings))
        return children[-1]

    monkeypatch.setattr(pool.subprocess, "Popen", start)
    return children


def gone(child):
    """Whether a program and its forks end, soon."""
    for _ in range(100):
        try:
            os.killpg(child.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("both", [False, True])
def test_a_child_that_dies_is_replaced_by_this_process(file, whole, children, both, monkeypatch, caplog):
    monkeypatch.setattr(ranges, "RANGE", 20_000)
    asked = pool.Process._ask

    def dying(self, lane, task):
        if task.start > 100_000:
            with suppress(ProcessLookupError):
                (os.killpg if both else os.kill)(children[0].pid, signal.SIGKILL)
        return asked(self, lane, task)

    monkeypatch.setattr(pool.Process, "_ask", dying)
    assert check(file, 2) == whole
    assert "goes on in one process" in caplog.text
    assert gone(children[0])


def test_where_no_process_can_be_started_this_one_does_all(file, whole, monkeypatch, caplog):
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert check(file, 2) == whole
    assert "no other could be started" in caplog.text


def test_a_daemonic_process_may_check_in_several_processes_too(file, whole, tmp_path):
    # where the standard library's pools are forbidden, as in the workers of some executors
    def run():
        (tmp_path / "report").write_text(json.dumps(check(file, 2).to_json()))

    process = multiprocessing.get_context("fork").Process(target=run, daemon=True)
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert DatasetReport.from_json(json.loads((tmp_path / "report").read_text())) == whole


def test_nothing_is_left_running_when_a_check_is_given_up(file, children, monkeypatch):
    monkeypatch.setattr(ranges, "RANGE", 5_000)
    with pytest.raises(KeyboardInterrupt):
        check(file, 2, progress=lambda progress: (_ for _ in ()).throw(KeyboardInterrupt))
    assert len(children) == 1
    assert children[0].poll() is not None
    assert gone(children[0])


def test_nothing_is_left_running_at_the_end(file, whole, children):
    assert check(file, 3) == whole
    assert children[0].returncode == 0
    assert gone(children[0])


def test_progress_is_told_to_the_end(file):
    told = []
    check(file, progress=told.append)
    assert told[-1].bytes == told[-1].size == file.stat().st_size
    assert "100%" in str(told[-1])


def test_the_line_of_an_example_counts_those_that_are_none(tmp_path):
    lines = [b"{}", *good_lines(2, 2), b"", b"[]", *good_lines(3, 2), b"{}"]
    (tmp_path / "f.jsonl").write_bytes(b"\n".join(lines))
    rules = Rules()
    with open_source(str(tmp_path / "f.jsonl"), root=None, storage=None) as source:
        scan = files.read(source, rules, Findings(rules.severities))
    assert [scan.line_of(index) for index in range(4)] == [2, 3, 6, 7]

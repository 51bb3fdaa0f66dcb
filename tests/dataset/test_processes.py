"""The processes that take part in a check: nothing else gets into them, and it goes on without them."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.dataset.lines import good_lines

from gemini_tuning.dataset.check import check_dataset
from gemini_tuning.dataset.options import Checks
from gemini_tuning.dataset.reading import pool
from gemini_tuning.dataset.reading.files import ONE_PROCESS_UP_TO
from gemini_tuning.dataset.reading.scanning import RANGE
from gemini_tuning.errors import UnusableInputError
from gemini_tuning.tuning.models import ModelTable

MODEL = "gemini-2.5-flash"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"\n".join(good_lines(1, 300)))
    return path


def check(path, processes=2, **arguments):
    return check_dataset(
        str(path),
        None,
        base_model=MODEL,
        epochs=None,
        models=ModelTable.load(),
        root=None,
        storage=None,
        checks=Checks(second_reading=False),
        processes=processes,
        **arguments,
    )


def test_nothing_is_imported_from_the_folder_of_the_data(tmp_path):
    """As a pre-commit hook runs: in a repository that may hold anything."""
    lines = b"\n".join(good_lines(1, 500)) + b"\n"
    (tmp_path / "train.jsonl").write_bytes(lines * (ONE_PROCESS_UP_TO // len(lines) + 1))
    for name in ("json", "msgspec", "signal"):
        (tmp_path / f"{name}.py").write_text("import pathlib; pathlib.Path('imported').touch(); 1/0")
    command = [Path(sys.executable).with_name("gemini-tuning"), "validate", "train.jsonl", "--model", MODEL]
    ended = subprocess.run([*command, "--no-second-reading"], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0
    assert "process" not in ended.stderr
    assert not (tmp_path / "imported").exists()


def test_without_pipes_one_process_does_all_and_none_is_left_open(file, monkeypatch, caplog):
    made, pipe = [], os.pipe

    def few():
        if len(made) % 4 == 3:
            made.append(None)
            raise OSError(errno.EMFILE, "Too many open files")
        made.append(pipe())
        return made[-1]

    alone = check(file, 0)
    before = set(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(pool.os, "pipe", few)
    for _ in range(3):
        assert check(file) == alone
    assert set(os.listdir("/proc/self/fd")) <= before  # others may have been closed meanwhile
    assert "no other could be started" in caplog.text


@pytest.mark.parametrize("processes", [0, 2])
def test_a_file_that_is_gone_meanwhile_is_said_to_be(file, processes, capfd):
    """By the one who was asked: what takes part says nothing."""
    file.write_bytes((file.read_bytes() + b"\n") * (4 * RANGE // file.stat().st_size))
    with pytest.raises(UnusableInputError, match=r"train\.jsonl: .*(?i:no such file|changed while)"):
        check(file, processes, progress=lambda _: file.unlink(missing_ok=True))
    assert capfd.readouterr().err == ""


def test_an_error_that_has_nothing_to_do_with_the_file_is_not_blamed_on_it(file):
    def progress(_):
        raise ConnectionResetError("the terminal is gone")

    with pytest.raises(ConnectionResetError):
        check(file, progress=progress)

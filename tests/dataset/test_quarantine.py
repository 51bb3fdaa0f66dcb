import base64
import errno
import io
import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dataset.reports import finding

from gemini_tuning.dataset.reading import scanning
from gemini_tuning.dataset.reports.quarantine import RejectedLine, rejected_lines, write_quarantine
from gemini_tuning.errors import UnusableInputError


def rejected(raw=b'{"contents": []}', line=3, **kwargs):
    return RejectedLine("train.jsonl", line, raw, [finding()], **kwargs)


def read(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_each_line_stands_there_with_its_reasons(tmp_path):
    target = tmp_path / "q.jsonl"
    assert write_quarantine(target, [rejected(), rejected("über".encode(), 7)]) == 2
    first, second = read(target)
    assert first == {
        "file": "train.jsonl",
        "line": 3,
        "faults": [
            {
                "code": "unknown-field",
                "path": "contents[0]",
                "message": "unknown field 'txt'",
                "hint": "Did you mean 'text'?",
            }
        ],
        "text": '{"contents": []}',
    }
    assert (second["line"], second["text"]) == (7, "über")
    assert "über" in target.read_text(encoding="utf-8")


@settings(derandomize=True, max_examples=100, database=None, deadline=None)
@given(raw=st.binary() | st.text().map(lambda text: text.encode("utf-8", "replace")), name=st.text(max_size=9))
def test_whatever_the_bytes_they_come_back(tmp_path_factory, raw, name):
    target = tmp_path_factory.mktemp("q") / "q.jsonl"
    write_quarantine(target, [RejectedLine(name, 1, raw, [finding(path=name)])])
    ((document),) = read(target)
    assert (document["text"].encode() if "text" in document else base64.b64decode(document["base64"])) == raw
    assert document["file"] == name


def test_half_a_surrogate_pair_in_a_name_is_written_as_json_writes_it(tmp_path):
    target = tmp_path / "q.jsonl"
    write_quarantine(target, [RejectedLine("a\udc80", 1, b"x", [])])
    assert read(target)[0]["file"] == "a\udc80"


def test_only_its_owner_may_read_it(tmp_path):
    target = tmp_path / "q.jsonl"
    old = os.umask(0)
    try:
        write_quarantine(target, [rejected()])
    finally:
        os.umask(old)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_it_is_there_whole_or_not_at_all(tmp_path):
    target = tmp_path / "q.jsonl"

    def stopped():
        yield rejected()
        assert not target.exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_quarantine(target, stopped())
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_sentence_and_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UnusableInputError, match="No space left on device"):
        write_quarantine(tmp_path / "q.jsonl", [rejected()])
    assert list(tmp_path.iterdir()) == []


def test_a_fault_of_the_dataset_is_not_blamed_on_the_quarantine_file(tmp_path):
    def unreadable():
        raise ConnectionResetError("by peer")
        yield

    with pytest.raises(ConnectionResetError):
        write_quarantine(tmp_path / "q.jsonl", unreadable())
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_replaced_only_on_request(tmp_path):
    target = tmp_path / "q.jsonl"
    target.write_text("mine")
    with pytest.raises(UnusableInputError, match="exists already"):
        write_quarantine(target, [rejected()])
    assert target.read_text() == "mine"
    write_quarantine(target, [], force=True)
    assert target.read_text() == ""


def test_a_file_that_appears_in_the_meantime_is_not_replaced_either(tmp_path):
    target = tmp_path / "q.jsonl"

    def slowly():
        yield rejected()
        target.write_text("somebody else's")

    with pytest.raises(UnusableInputError, match="exists already"):
        write_quarantine(target, slowly())
    assert target.read_text() == "somebody else's"


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
def test_the_dataset_itself_is_never_written_to(tmp_path, link):
    dataset, target = tmp_path / "train.jsonl", tmp_path / "q.jsonl"
    dataset.write_text("data")
    if link:
        link(dataset, target)
    else:
        (tmp_path / "folder").mkdir()
        target = tmp_path / "folder" / ".." / "train.jsonl"
    with pytest.raises(UnusableInputError, match="is the dataset itself"):
        write_quarantine(target, [rejected()], inputs=[tmp_path / "other.jsonl", dataset], force=True)
    assert dataset.read_text() == "data"


def test_a_link_is_replaced_and_not_followed(tmp_path):
    precious, target = tmp_path / "precious", tmp_path / "q.jsonl"
    precious.write_text("mine")
    target.symlink_to(precious)
    with pytest.raises(UnusableInputError, match="exists already"):
        write_quarantine(target, [rejected()])
    write_quarantine(target, [rejected()], force=True)
    assert precious.read_text() == "mine"
    assert not target.is_symlink()


@pytest.mark.parametrize("name", ["", "gone/q.jsonl", "file/q.jsonl", "x" * 300])
def test_a_place_where_no_file_can_be_is_one_sentence(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(UnusableInputError, match=r"can't be written|not a file"):
        write_quarantine(tmp_path / name, [rejected()], force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_is_no_ordinary_file_is_left_alone(tmp_path):
    pipe = tmp_path / "pipe"  # stands for a device: a test that failed as root would replace a real one
    os.mkfifo(pipe)
    with pytest.raises(UnusableInputError, match="not a file"):
        write_quarantine(pipe, [rejected()], force=True)
    assert pipe.is_fifo()


def judge(line, raw):
    return [finding(line=line)] if b"bad" in raw or len(raw) > 4096 else []


def test_rejected_lines_are_read_again_by_their_numbers():
    content = b"good\nbad one\r\nbad two\ngood\nbad last"
    lines = list(rejected_lines("t.jsonl", io.BytesIO(content), [2, 5], judge))
    assert [(line.file, line.line, line.raw, line.cut) for line in lines] == [
        ("t.jsonl", 2, b"bad one\r", False),
        ("t.jsonl", 5, b"bad last", False),
    ]
    assert lines[1].faults == [finding(line=5)]


def test_a_line_that_nothing_rejects_is_left_out():
    assert [line.line for line in rejected_lines("t.jsonl", io.BytesIO(b"fine\nbad\n"), [1, 2], judge)] == [2]


def test_a_line_too_long_to_keep_is_cut_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(scanning, "LARGEST_LINE", 4999)
    content = b"x" * 20_000 + b"\nbad\n" + b"y" * 4999 + b"\n"
    lines = list(rejected_lines("t.jsonl", io.BytesIO(content), [1, 2, 3], judge))
    assert [(line.line, len(line.raw), line.cut) for line in lines] == [
        (1, 5000, True),
        (2, 3, False),
        (3, 4999, False),
    ]
    target = tmp_path / "q.jsonl"
    write_quarantine(target, lines)
    assert [document.get("cut") for document in read(target)] == [True, None, None]


def test_a_dataset_that_was_cut_meanwhile_is_noticed():
    with pytest.raises(UnusableInputError, match="was changed while it was checked"):
        list(rejected_lines("t.jsonl", io.BytesIO(b"bad\n"), [1, 2], judge))

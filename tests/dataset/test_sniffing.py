"""Files that are no JSON Lines are told so once; and whatever is in them, a check ends with a report."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dataset.lines import good_lines

from gemini_tuning.dataset.check import check_dataset
from gemini_tuning.tuning.models import ModelTable

MODELS = ModelTable.load()
DOCUMENTS = [json.loads(line) for line in good_lines(1, 30)]
JSONL = "\n".join(map(json.dumps, DOCUMENTS))


@pytest.fixture
def check(tmp_path):
    def check(content):
        (tmp_path / "train.jsonl").write_bytes(content)
        return check_dataset(
            "train.jsonl", None, base_model="gemini-2.5-flash", epochs=1, models=MODELS, root=tmp_path, storage=None
        )

    return check


@pytest.mark.parametrize(
    ("content", "code", "word"),
    [
        (json.dumps(DOCUMENTS).encode(), "not-json-lines", "JSON array"),
        (json.dumps(DOCUMENTS, indent=2).encode(), "not-json-lines", "JSON array"),
        (json.dumps(DOCUMENTS[0], indent=2).encode(), "not-json-lines", "pretty-printed"),
        ("\n".join(json.dumps(one, indent=1) for one in DOCUMENTS).encode(), "not-json-lines", "pretty-printed"),
        (json.dumps({"contents": DOCUMENTS * 50}, indent=2).encode(), "not-json-lines", "pretty-printed"),
        (b"prompt,answer\nhello,hi\nbye,see you\n", "not-json-lines", "CSV"),
        (b'prompt,answer\n"hello, you",hi\nbye,"see you"\n', "not-json-lines", "CSV"),
        (b"prompt\tanswer\nhello\thi\n", "not-json-lines", "TSV"),
        (b"PK\x03\x04" + bytes(100), "not-json-lines", "ZIP"),
        (b"PAR1" + bytes(100), "not-json-lines", "Parquet"),
        (JSONL.encode("utf-16"), "utf-16", "UTF-16"),
        (JSONL.encode("utf-16-le"), "utf-16", "UTF-16"),
        (JSONL.encode("utf-16-be"), "utf-16", "UTF-16"),
        (JSONL.encode("utf-32"), "utf-16", "UTF-32"),
        (gzip.compress(JSONL.encode(), mtime=0), "compressed", "gzip"),
        (gzip.compress(JSONL.encode(), mtime=0)[:-20], "compressed", "damaged"),
        (gzip.compress(json.dumps(DOCUMENTS).encode(), mtime=0), "not-json-lines", "JSON array"),
        (b"\x1f\x8bnonsense", "compressed", "damaged"),
    ],
)
def test_the_file_is_told_once_what_it_is(check, content, code, word):
    report = check(content)
    assert not report.accepted
    assert {finding.code for finding in report.errors} <= {code, "compressed"}
    assert any(finding.code == code and word in finding.message for finding in report.errors)
    assert report.train.bytes == len(content)
    assert report.train.sha256


def test_what_a_gzip_file_holds_is_checked_all_the_same(check):
    report = check(gzip.compress(JSONL.encode() + b"\n{}\n"))
    assert report.train.examples == len(DOCUMENTS)
    assert [(finding.code, finding.line) for finding in report.errors] == [("compressed", None), ("missing-field", 31)]


@pytest.mark.parametrize(
    "first", [b"[1, 2]", b"[", b"hello, world", b'{"contents":', b"{", b"\xff\xfe", b"\x00", b"a,b\nc,d", b"{}\r"]
)
def test_one_odd_line_at_the_top_is_a_line_like_others(check, first):
    report = check(first + b"\n" + JSONL.encode())
    if first in {b"[", b"{"}:  # the beginning of something pretty-printed: nobody can tell
        assert [finding.code for finding in report.errors] == ["not-json-lines"]
    elif first == b"\xff\xfe":  # the mark of UTF-16
        assert [finding.code for finding in report.errors] == ["utf-16"]
    else:
        assert report.train.examples == len(DOCUMENTS)
        assert {finding.line for finding in report.errors} == set(range(1, first.count(b"\n") + 2))


def test_windows_line_ends_are_told_once_and_do_no_harm(check):
    report = check(JSONL.replace("\n", "\r\n").encode() + b"\r\n")
    assert report.accepted
    (found,) = [finding for finding in report.warnings if finding.code == "crlf"]
    assert "30 lines" in found.message
    assert report.train.examples == 30


def test_a_byte_order_mark_is_told_of_the_first_line(check):
    report = check(b"\xef\xbb\xbf" + JSONL.encode())
    assert [(finding.code, finding.line) for finding in report.errors] == [("byte-order-mark", 1)]


def test_the_last_line_needs_no_line_feed(check):
    assert check(JSONL.encode()).train.examples == check(JSONL.encode() + b"\n").train.examples == 30


@given(
    st.binary(max_size=300) | st.text(alphabet='{}[]",:\\ \n\t\r;u0dé\u2028truefalsnu-1', max_size=200).map(str.encode)
)
@settings(derandomize=True, database=None, deadline=None, max_examples=800)
def test_whatever_the_bytes_a_check_ends_with_a_report(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "noise.jsonl"
    for data in (content, gzip.compress(content), b"\x1f\x8b" + content):
        path.write_bytes(data)
        report = check_dataset(
            str(path), None, base_model="gemini-2.5-flash", epochs=1, models=MODELS, root=None, storage=None
        )
        assert report.train.bytes == len(data)
        assert not report.accepted

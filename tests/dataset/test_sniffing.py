"""Files that are no JSON Lines are told so once; and whatever is in them, a check ends with a report."""

import gzip
import io
import json
import os
import pickle
import random
import tarfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dataset.lines import good_lines

from gemini_tuning.dataset.check import check_dataset
from gemini_tuning.dataset.reading import sniffing
from gemini_tuning.errors import UnusableInputError
from gemini_tuning.tuning.models import ModelTable

MODELS = ModelTable.load()
DOCUMENTS = [json.loads(line) for line in good_lines(1, 30)]
JSONL = "\n".join(map(json.dumps, DOCUMENTS))
LARGE = json.dumps({"text_input": "é" * 40_000, "output": "x"})
BINARY = ("not-json-lines", "binary")
NOISE = random.Random(7).randbytes(200_000)


def tar(content):
    with io.BytesIO() as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("train.jsonl")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
        archive.close()
        return packed.getvalue()


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
        (tar(JSONL.encode()), "not-json-lines", "tar archive"),
        (gzip.compress(tar(JSONL.encode())), "not-json-lines", "tar archive"),
        (pickle.dumps(DOCUMENTS, protocol=4), "not-json-lines", "pickle"),
        (zlib.compress(JSONL.encode()), *BINARY),
        (b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\0>\0\x01\0\0\0" + bytes(100), *BINARY),
        (b"".join(len(one).to_bytes(8, "little") + one for one in map(str.encode, JSONL.split("\n"))), *BINARY),
        (NOISE, *BINARY),
        (b"<!DOCTYPE html>\n<html>\n<body>Sign in</body>\n</html>\n", "not-json-lines", "HTML"),
        ("".join(f"\x1e{json.dumps(one)}\n" for one in DOCUMENTS).encode(), "not-json-lines", "text sequence"),
        (JSONL.replace("\n", "\r").encode(), "not-json-lines", "carriage return alone"),
        ("\n".join(map(str, DOCUMENTS)).encode(), "not-json-lines", "single quotes"),
        (str(DOCUMENTS).encode(), "not-json-lines", "single quotes"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "not-json-lines", "Git LFS"),
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


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"training_examples": DOCUMENTS}, indent=4),
        json.dumps({"data": DOCUMENTS}),
        json.dumps({"version": "1.0", "count": 900, "data": DOCUMENTS * 30}),
        json.dumps({"version": "1.0", "count": 900, "data": DOCUMENTS * 30}, indent=1),
        json.dumps({"rows": [{"text_input": "a", "output": "b"}], "more": {}}),
        json.dumps({"data": [{"messages": [{"role": "user", "content": "a"}]}]}, indent=2),
    ],
)
def test_what_is_around_the_examples_is_named(check, content):
    (found,) = check(content.encode()).errors
    key = next(key for key in ("training_examples", "data", "rows") if key in content)
    assert found.code == "not-json-lines"
    assert f"its examples in the list '{key}'" in found.message
    assert f"each element of '{key}'" in found.hint


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (json.dumps({"contents": DOCUMENTS[0]["contents"], "data": DOCUMENTS}), "unknown-field"),
        (json.dumps({"turns": [{"speaker": "a", "says": "b"}]}), "missing-field"),
        (json.dumps({"data": []}), "missing-field"),
        (json.dumps({"data": [1]}), "missing-field"),
        (LARGE, "legacy-format"),
        ("\n".join([LARGE] * 3), "legacy-format"),
        ("\n".join(json.dumps([one]) for one in DOCUMENTS), "wrong-type"),
        ("[2026-11-22] training started\n[2026-11-22] done", "invalid-json"),
    ],
)
def test_what_only_looks_like_a_document_is_read_line_by_line(check, content, code):
    assert code in check(content.encode()).counts.by_code


RAW_LINE_BREAK = '{"contents": [{"role": "user", "parts": [{"text": "a\nb\nc"}]}]}'


@pytest.mark.parametrize(
    ("first", "lines"),
    [
        (RAW_LINE_BREAK, [1, 2, 3]),
        (RAW_LINE_BREAK.replace("a", "a" * 40_000), [1, 2, 3]),
        (json.dumps({"contents": []}, indent=1), [1, 2, 3]),
        (json.dumps({"contents": [{"text": "a" * 40_000}]}, indent=1), [1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_a_broken_first_example_does_not_condemn_the_file(check, first, lines):
    report = check(f"{first}\n{JSONL}\n{{}}\n".encode())
    assert report.train.examples == len(DOCUMENTS)
    assert [finding.line for finding in report.errors if finding.code == "invalid-json"] == lines
    assert [finding.line for finding in report.errors if finding.code == "missing-field"] == [len(lines) + 31]


def test_a_line_break_inside_a_text_is_told_how_to_write(check):
    first, second, third = check(f"{JSONL}\n{RAW_LINE_BREAK}".encode()).errors
    assert "Unterminated string" in first.message
    assert r"write a line break in a text as \n" in first.hint
    assert "line break" not in second.hint + third.hint


def test_an_object_spread_over_lines_among_whole_ones_is_told_so_on_each_of_its_lines(check):
    errors = check(f"{json.dumps(DOCUMENTS[0], indent=2)}\n{JSONL}".encode()).errors
    assert len(errors) > 10
    assert {finding.code for finding in errors} == {"invalid-json"}
    assert [finding.hint for finding in errors if "write the whole object on one line" not in finding.hint] == []


@pytest.mark.parametrize(
    ("line", "column", "hint"),
    [
        ("{'contents': []}", 2, "json.dumps()"),
        ('{"contents": None}', 14, "json.dumps()"),
        ('{"contents": []}{"contents": []}', 17, "on the next line"),
        ('{"contents": []},', 17, "Remove the comma at the end"),
        ('{"contents": [], }', 18, "Remove the comma before it"),
        ('{"contents": [1,]}', 17, "Remove the comma before it"),
        ('{"contents": ["a\tb"]}', 17, "as an escape"),
        ('{"a": "NaN, \\"NaN", "b": [1, NaN]}', 30, "Write a number"),
        ('{"a": -Infinity}', 7, "Write a number"),
        ('{"b": {"a": 1}, "a": "a", "\\u0061": 1}', 27, "Keep one"),
        ('{"a": {"b": 1, "c": {"b": 1}, "b": 2}}', 31, "Keep one"),
    ],
)
def test_the_place_of_what_is_no_json_is_told_with_the_remedy(check, line, column, hint):
    (found,) = [finding for finding in check(f"{JSONL}\n{line}".encode()).errors if finding.line == 31]
    assert found.column == column
    assert hint in found.hint


def test_text_in_another_encoding_is_no_binary_file(check):
    text = '{"contents": [{"role": "user", "parts": [{"text": "Où est le café ?"}]}]}\n' * 20
    assert set(check(text.encode("latin-1")).counts.by_code) == {"not-utf-8"}


@pytest.mark.parametrize("moment", ["first reading", "later"])
def test_a_file_that_is_written_to_is_refused_even_at_the_same_size(tmp_path, monkeypatch, moment):
    path = tmp_path / "train.jsonl"
    path.write_bytes(JSONL.encode())

    def change(_):
        path.write_bytes(JSONL.encode()[::-1])
        os.utime(path, ns=(1, 1))

    if moment == "first reading":
        monkeypatch.setattr(sniffing, "sniff", change)
    with pytest.raises(UnusableInputError, match="changed while it was checked"):
        check_dataset(
            str(path),
            None,
            base_model="gemini-2.5-flash",
            epochs=1,
            models=MODELS,
            root=None,
            storage=None,
            progress=change if moment == "later" else None,
        )


def test_what_a_gzip_file_holds_is_checked_all_the_same(check):
    report = check(gzip.compress(JSONL.encode() + b"\n{}\n"))
    assert report.train.examples == len(DOCUMENTS)
    assert [(finding.code, finding.line) for finding in report.errors] == [("compressed", None), ("missing-field", 31)]


@pytest.mark.parametrize(
    "first", [b"[1, 2]", b"[", b"hello, world", b'{"contents":', b"{", b"\xff\xfe", b"\x00", b"a,b\nc,d", b"{}\r"]
)
def test_one_odd_line_at_the_top_is_a_line_like_others(check, first):
    report = check(first + b"\n" + JSONL.encode())
    if first == b"\xff\xfe":  # the mark of UTF-16
        assert [finding.code for finding in report.errors] == ["utf-16"]
    else:
        assert report.train.examples == len(DOCUMENTS)
        assert {finding.line for finding in report.errors} == set(range(1, first.count(b"\n") + 2))


def test_windows_line_ends_are_told_once_and_do_no_harm(check):
    report = check(JSONL.replace("\n", "\r\n").encode() + b"\r\n")
    assert report.accepted
    (found,) = [finding for finding in report.warnings if finding.code == "crlf"]
    assert found.message == "30 lines end with carriage return and line feed"
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

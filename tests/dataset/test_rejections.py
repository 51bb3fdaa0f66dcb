"""Every rejected line comes back with all that rejects it, wherever it lies and however many there are."""

import gzip
import json
import tracemalloc

import pytest
from tests.dataset.lines import DAMAGE, good_lines

from gemini_tuning.dataset.check import check_dataset
from gemini_tuning.dataset.codes import CODES, LISTED_PER_CODE
from gemini_tuning.dataset.lines.rules import Rules
from gemini_tuning.dataset.options import Checks
from gemini_tuning.dataset.reports.rejections import Rejections
from gemini_tuning.dataset.reports.report import Finding
from gemini_tuning.errors import UnusableInputError
from gemini_tuning.tuning.models import ModelTable

MODELS = ModelTable.load()
ERRORS = {name: line for name, (line, code, _) in DAMAGE.items() if CODES[code].severity == "error"}


@pytest.fixture
def rejected(tmp_path):
    def rejected(content, name="train.jsonl", validation=None, **checks):
        (tmp_path / name).write_bytes(content)
        lines = []
        report = check_dataset(
            name,
            validation,
            base_model="gemini-2.5-flash",
            epochs=1,
            models=MODELS,
            root=tmp_path,
            storage=None,
            checks=Checks.from_json({"second_reading": False, **checks}),
            rejected=lines.extend,
        )
        return report, lines

    return rejected


def test_every_kind_of_damage_comes_back_and_no_good_line(rejected):
    good = good_lines(3, 2 * len(ERRORS))
    content = [line for pair in zip(good[::2], ERRORS.values(), strict=True) for line in pair]
    report, lines = rejected(b"\n".join(content))
    assert [line.line for line in lines] == list(range(2, 2 * len(ERRORS) + 1, 2))
    assert [line.raw for line in lines if not line.cut] == [raw for raw in ERRORS.values() if len(raw) <= 16 << 20]
    assert not report.accepted
    for line in lines:
        assert line.faults
        assert {CODES[fault.code].severity for fault in line.faults} == {"error"}
        assert {fault.line for fault in line.faults} == {line.line}


def test_more_of_them_than_are_listed(rejected):
    count = 3 * LISTED_PER_CODE
    report, lines = rejected(b"{}\n" * count)
    assert len(report.errors) == LISTED_PER_CODE
    assert [(line.line, line.faults[0].code) for line in lines] == [(n + 1, "missing-field") for n in range(count)]


def test_they_are_found_in_a_compressed_file(rejected):
    plain = b"\n".join([*good_lines(1, 5), b"{}", b"nothing"])
    assert rejected(gzip.compress(plain), "train.jsonl.gz")[1] == [
        line._replace(
            file="train.jsonl.gz", faults=[f.model_copy(update={"file": "train.jsonl.gz"}) for f in line.faults]
        )
        for line in rejected(plain)[1]
    ]


def test_what_only_a_comparison_or_a_severity_rejects_comes_back_too(rejected):
    one, two = good_lines(2, 2)
    _, lines = rejected(b"\n".join([one, b"{}", one, two]), severities={"duplicate-example": "error"})
    assert [(line.line, [fault.code for fault in line.faults]) for line in lines] == [
        (2, ["missing-field"]),
        (3, ["duplicate-example"]),
    ]
    loop = json.loads(two)
    loop["contents"][-1]["parts"] = [{"text": "over and over again " * 40}]
    content = b"\n".join([one, json.dumps(loop).encode()])
    assert rejected(content, second_reading=True)[1] == []
    (line,) = rejected(content, second_reading=True, severities={"degenerate-answer": "error"})[1]
    assert (line.line, line.faults[0].code) == (2, "degenerate-answer")


def test_a_line_that_several_comparisons_reject_has_all_their_reasons(rejected, tmp_path):
    one, two = good_lines(2, 2)
    (tmp_path / "v.jsonl").write_bytes(b"\n".join([two, b"{}", one, one]))
    severities = dict.fromkeys(("duplicate-example", "validation-leak"), "error")
    _, lines = rejected(
        b"\n".join([one, one, one]), "tr\udc80.jsonl", "v.jsonl", severities=severities, second_reading=True
    )
    assert [(line.file, line.line, [(fault.code, fault.message) for fault in line.faults]) for line in lines] == [
        ("tr\udc80.jsonl", 2, [("duplicate-example", "the same as line 1")]),
        ("tr\udc80.jsonl", 3, [("duplicate-example", "the same as line 1")]),
        ("v.jsonl", 2, [("missing-field", "field 'contents' is missing")]),
        ("v.jsonl", 3, [("validation-leak", "the same prompt as training line 1 (tr\udc80.jsonl)")]),
        (
            "v.jsonl",
            4,
            [
                ("duplicate-example", "the same as line 3"),
                ("validation-leak", "the same prompt as training line 1 (tr\udc80.jsonl)"),
            ],
        ),
    ]
    for line in lines:
        assert {(fault.file, fault.line) for fault in line.faults} == {(line.file, line.line)}


def test_of_an_error_next_to_nothing_stays_in_memory():
    count = 20_000
    rejections = Rejections(Rules())
    tracemalloc.start()
    try:
        for line in range(count):
            rejections.add(Finding(code="near-duplicate", file="t", line=line, message=f"like line {line}", hint="x"))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 40 * count


def test_lines_of_another_format_name_it_each(rejected):
    chat = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}'
    _, lines = rejected(b"\n".join([chat, chat]))
    assert [line.faults[0].code for line in lines] == ["legacy-format"] * 2
    assert "gemini-tuning convert train.jsonl" in lines[1].faults[0].hint


def test_lines_of_both_files_are_told_apart(rejected, tmp_path):
    (tmp_path / "v.jsonl").write_bytes(b"nothing\n")
    _, lines = rejected(b"{}", validation="v.jsonl")
    assert [(line.file, line.line) for line in lines] == [("train.jsonl", 1), ("v.jsonl", 1)]


def test_a_file_that_is_no_json_lines_has_no_lines_to_set_aside(rejected):
    assert rejected(b"a,b\n1,2\n3,4\n")[1] == []
    assert rejected(gzip.compress(b"{}\n" * 1000)[:-9])[0].accepted is False


def test_a_file_that_changes_meanwhile_is_refused(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"{}\n")

    def look(lines):
        path.write_bytes(b"{}\n{}\n")
        list(lines)

    with pytest.raises(UnusableInputError, match="changed while it was checked"):
        check_dataset(
            str(path),
            None,
            base_model="gemini-2.5-flash",
            epochs=1,
            models=MODELS,
            root=None,
            storage=None,
            rejected=look,
        )

import base64
import gzip
import hashlib
import json
import re

import google_crc32c
import pytest

from gemini_tuning.dataset.check import check_dataset
from gemini_tuning.dataset.options import Checks
from gemini_tuning.dataset.reading.source import LARGEST_LINE
from gemini_tuning.dataset.reports.report import LISTED_PER_CODE, DatasetReport
from gemini_tuning.errors import UnusableInputError
from gemini_tuning.settings import include_root
from gemini_tuning.tuning.models import ModelTable

MODELS = ModelTable.load()


def line(prompt="How are you?", answer="Fine."):
    user = {"role": "user", "parts": [{"text": prompt}]}
    return json.dumps({"contents": [user, {"role": "model", "parts": [{"text": answer}]}]})


def no_storage():
    raise AssertionError("a local file needs no Cloud Storage")


def check(root, train, validation=None, *, epochs=None, base_model="gemini-2.5-flash"):
    return check_dataset(
        train, validation, base_model=base_model, epochs=epochs, models=MODELS, root=root, storage=no_storage
    )


@pytest.fixture
def write(tmp_path):
    def write(name, *lines):
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return name

    return write


def test_a_good_dataset_is_accepted_with_its_identity(tmp_path, write):
    write("train.jsonl", *(line(f"Question {n}?") for n in range(120)))
    report = check(tmp_path, "train.jsonl")
    content = (tmp_path / "train.jsonl").read_bytes()
    assert report.accepted
    assert report.counts.errors == report.counts.warnings == 0
    assert report.train.sha256 == hashlib.sha256(content).hexdigest()
    assert report.train.crc32c == base64.b64encode(google_crc32c.Checksum(content).digest()).decode()
    assert (report.train.bytes, report.train.examples) == (len(content), 120)


@pytest.mark.parametrize("content", [b"\n\n", gzip.compress(b"", mtime=0)], ids=["blank lines", "gzip of nothing"])
def test_a_file_without_an_example_is_rejected_whatever_is_made_harmless(tmp_path, content):
    (tmp_path / "train.jsonl").write_bytes(content)
    report = check_dataset(
        "train.jsonl",
        None,
        base_model="gemini-2.5-flash",
        epochs=None,
        models=MODELS,
        root=tmp_path,
        storage=no_storage,
        checks=Checks(severities={"blank-line": "ignore", "compressed": "warning"}),
    )
    assert [finding.code for finding in report.errors] == ["empty-file"]


def test_the_longest_line_may_have_a_line_feed(tmp_path, write):
    """The limit is the line's own."""
    write(
        "train.jsonl", line(answer="x" * (LARGEST_LINE - len(line(answer="")))), line(), line(answer="x" * LARGEST_LINE)
    )
    codes = [(finding.line, finding.code) for finding in check(tmp_path, "train.jsonl").errors]
    assert (3, "line-too-long") in codes
    assert (1, "line-too-long") not in codes


def test_the_report_survives_json(tmp_path, write):
    report = check(tmp_path, write("train.jsonl", line(), "{}", ""))
    assert DatasetReport.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_every_bad_line_is_named_by_its_number_and_the_good_ones_raise_nothing(tmp_path, write):
    report = check(tmp_path, write("train.jsonl", line("a"), "not json", line("b"), "{}", line("c")))
    assert not report.accepted
    assert [(finding.line, finding.code) for finding in report.errors] == [(2, "invalid-json"), (4, "missing-field")]
    assert report.train.examples == 3


def test_an_empty_file_is_one_clear_fault(tmp_path):
    (tmp_path / "train.jsonl").touch()
    report = check(tmp_path, "train.jsonl")
    assert [finding.code for finding in report.errors] == ["empty-file"]
    assert "train.jsonl" in str(report.errors[0])


def test_a_validation_file_is_checked_like_the_training_file(tmp_path, write):
    report = check(tmp_path, write("train.jsonl", line("a")), write("validation.jsonl", "{}"))
    assert [(finding.file, finding.line) for finding in report.errors] == [("validation.jsonl", 1)]


def test_a_prompt_in_both_files_is_a_leak(tmp_path, write):
    train = write("train.jsonl", line("a"), line("b"))
    report = check(tmp_path, train, write("validation.jsonl", line("c"), line("b", "another answer")))
    leaks = [finding for finding in report.warnings if finding.code == "validation-leak"]
    assert [(leak.file, leak.line) for leak in leaks] == [("validation.jsonl", 2)]
    assert "training line 2" in leaks[0].message
    assert report.accepted


def test_a_copy_of_the_training_file_is_told_once(tmp_path, write):
    lines = [line(f"Question {n}?") for n in range(120)]
    report = check(tmp_path, write("train.jsonl", *lines), write("validation.jsonl", *lines))
    (leak,) = [finding for finding in report.warnings if finding.file == "validation.jsonl"]
    assert (leak.code, leak.line, report.counts.by_code["validation-leak"]) == ("validation-leak", None, 1)
    assert "byte for byte" in leak.message
    report = check(tmp_path, write("train.jsonl", "{}"), write("validation.jsonl", "{}"))
    assert set(report.counts.by_code) == {"missing-field"}


def test_a_repeated_prompt_names_the_first_line(tmp_path, write):
    report = check(tmp_path, write("train.jsonl", line("a"), line("b"), line("a", "Other.")))
    (repeated,) = [finding for finding in report.warnings if finding.code == "repeated-prompt"]
    assert repeated.line == 3
    assert "line 1" in repeated.message


def test_all_faults_are_counted_while_the_list_is_capped(tmp_path, write):
    report = check(tmp_path, write("train.jsonl", *["{}"] * 50))
    assert report.counts.errors == report.counts.by_code["missing-field"] == 50
    assert len(report.errors) == LISTED_PER_CODE
    assert report.truncated


def test_the_estimate_is_tokens_times_epochs_times_price(tmp_path, write):
    train = write("train.jsonl", *(line(f"{n:04}", "x" * 396) for n in range(1000)))
    report = check(tmp_path, train, epochs=3)
    assert report.estimate.tokens_per_epoch == 100 * 1000
    assert report.estimate.cost_usd == pytest.approx(100_000 * 3 * 5.0 / 1e6)
    assert not report.estimate.epochs_assumed
    assert "2026" in str(report.estimate)


def test_an_assumed_number_of_epochs_is_said_so(tmp_path, write):
    report = check(tmp_path, write("train.jsonl", line()))
    assert report.estimate.epochs == MODELS.assumed_epochs
    assert "assumed" in str(report.estimate)


def test_an_unknown_model_has_no_price(tmp_path, write):
    report = check(tmp_path, write("train.jsonl", line()), base_model="gemini-9")
    assert report.estimate.cost_usd is None
    assert "no price" in str(report.estimate)


def test_few_examples_are_a_warning(tmp_path, write):
    assert [w.code for w in check(tmp_path, write("train.jsonl", line())).warnings] == ["few-examples"]


@pytest.mark.parametrize("reference", ["../outside.jsonl", "link.jsonl"])
def test_nothing_outside_the_data_root_is_read(tmp_path, reference):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside.jsonl").write_text(line())
    (root / "link.jsonl").symlink_to(tmp_path / "outside.jsonl")
    with pytest.raises(UnusableInputError, match="outside the data root"):
        check(root, reference)


def test_a_missing_file_names_itself(tmp_path):
    with pytest.raises(UnusableInputError, match=r"nowhere\.jsonl: no such file"):
        check(tmp_path, "nowhere.jsonl")


def test_a_folder_is_not_a_file(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UnusableInputError, match="is a folder"):
        check(tmp_path, "folder")


def test_a_line_too_long_for_an_example_is_cut_and_the_next_one_read(tmp_path):
    (tmp_path / "train.jsonl").write_bytes(b'"' + b"x" * (33 * 1024 * 1024) + b'"\n' + line().encode())
    report = check(tmp_path, "train.jsonl")
    assert [(finding.line, finding.code) for finding in report.errors] == [(1, "line-too-long")]
    assert report.train.examples == 1
    assert report.train.sha256 == hashlib.sha256((tmp_path / "train.jsonl").read_bytes()).hexdigest()


def test_the_broken_sample_has_just_the_faults_its_readme_lists():
    readme = (include_root() / "datasets" / "README.md").read_text()
    listed = [int(number) for number in re.findall(r"^\| (\d+) \|", readme, re.MULTILINE)]
    report = check(include_root() / "datasets", "support_replies_broken/train.jsonl")
    assert sorted({finding.line for finding in report.errors}) == listed


def test_the_good_sample_raises_nothing():
    folder = "support_replies"
    report = check(include_root() / "datasets", f"{folder}/train.jsonl", f"{folder}/validation.jsonl")
    assert report.accepted
    assert report.counts.warnings == 0

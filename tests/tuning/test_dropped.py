import pytest

from gemini_tuning.dataset.reports.report import DatasetFile
from gemini_tuning.errors import TuningJobFailedError
from gemini_tuning.tuning.dropped import dropped_of, line_of, require_few_dropped
from gemini_tuning.tuning.spec import TuningJob
from gemini_tuning.tuning.states import JobState
from gemini_tuning.tuning.wait import require_success


def job(count, indices=(), reasons=(), examples=100):
    return TuningJob(
        name="projects/7/locations/us-central1/tuningJobs/9",
        state=JobState.SUCCEEDED,
        training_examples=examples,
        dropped_examples=count,
        dropped_indices=indices,
        dropped_reasons=reasons,
    )


def file(skipped_lines=()):
    return DatasetFile(path="train.jsonl", bytes=1, examples=100, sha256="", crc32c="", skipped_lines=skipped_lines)


def test_without_blank_lines_an_example_is_a_line():
    assert [line_of(example) for example in (1, 7, 100)] == [1, 7, 100]


def test_blank_lines_move_the_examples_after_them():
    text = ["one", "", "  ", "two", "three", "", "four", ""]
    blank = [number for number, line in enumerate(text, 1) if not line.strip()]
    assert [text[line_of(example, blank) - 1] for example in (1, 2, 3, 4)] == ["one", "two", "three", "four"]


def test_what_is_named_comes_with_its_reason_in_the_order_of_the_file():
    dropped = dropped_of(job(3, (9, 2), ("too long", "bad image")), file(skipped_lines=(5,)))
    assert dropped.sentence() == (
        "The service left 3 of 100 training examples out (3.0%): train.jsonl:2 (bad image); train.jsonl:10 (too long); "
        "and 1 more."
    )


@pytest.mark.parametrize("unknown", [None, file(skipped_lines=None)])
def test_where_the_lines_are_not_known_examples_are_told(unknown):
    assert "example 2 (bad image)" in dropped_of(job(1, (2,), ("bad image",)), unknown).sentence()


def test_reasons_that_are_missing_hide_no_line():
    assert [left_out.line for left_out in dropped_of(job(2, (4, 5), ("too long",)), file()).named] == [4, 5]


def test_nothing_dropped_is_nothing_to_tell():
    assert dropped_of(job(None)) is None
    assert dropped_of(job(0)) is None


def test_a_count_without_names_is_told():
    assert dropped_of(job(5)).sentence().endswith("and doesn't say which.")


@pytest.mark.parametrize(("count", "most"), [(5, 0.05), (100, 1.0), (99, None), (0, 0.0)])
def test_up_to_the_share_a_run_goes_on(count, most):
    assert require_few_dropped(job(count), most)


@pytest.mark.parametrize(("count", "most", "examples"), [(6, 0.05, 100), (1, 0.0, 100), (1, 0.5, None)])
def test_above_it_the_run_fails_with_lines_and_the_setting(count, most, examples):
    with pytest.raises(TuningJobFailedError, match=r"train\.jsonl:3 \(too long\).*'wait\.max_dropped_share'"):
        require_success(job(count, (3,), ("too long",), examples), most, file())

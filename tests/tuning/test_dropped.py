import pytest

from gemini_tuning.errors import TuningJobFailedError
from gemini_tuning.tuning.dropped import blank_lines_of, dropped_of, lines_of, require_few_dropped
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


def test_without_blank_lines_an_example_is_a_line():
    assert lines_of([1, 7, 100]) == [1, 7, 100]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_blank_lines_move_the_examples_after_them(end):
    text = [b"one", b"", b"  ", b"two", b"three", b"\t", b"four"]
    blank = blank_lines_of(end.join(text).splitlines(keepends=True))
    assert blank == [2, 3, 6]
    assert [text[line - 1] for line in lines_of([1, 2, 3, 4], blank)] == [b"one", b"two", b"three", b"four"]


def test_what_is_named_comes_with_its_reason_in_the_order_of_the_file():
    dropped = dropped_of(job(3, (9, 2), ("too long", "bad image")))
    assert dropped.sentence("train.jsonl") == (
        "The service left 3 of 100 training examples out (3.0%): train.jsonl:2 (bad image); train.jsonl:9 (too long); "
        "and 1 more."
    )


def test_reasons_that_are_missing_hide_no_line():
    assert [example.line for example in dropped_of(job(2, (4, 5), ("too long",))).named] == [4, 5]


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
    with pytest.raises(TuningJobFailedError, match=r"line 3 \(too long\).*'wait\.max_dropped_share'"):
        require_success(job(count, (3,), ("too long",), examples), most)

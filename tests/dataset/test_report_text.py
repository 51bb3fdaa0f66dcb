import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dataset.reports import HOSTILE, finding, hostile_report, report

from gemini_tuning.dataset.reports.text import report_text, wants_colour


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_verdict_comes_first_and_the_cost_with_its_basis_last():
    lines = report_text(report()).splitlines()
    assert lines[0] == "Dataset accepted: train.jsonl (5 examples); 0 errors, 0 warnings"
    assert "1.2 MB  train.jsonl" in lines[3]
    assert any(line.startswith("Estimated cost: about 1,000 tokens × 4 epochs (assumed") for line in lines)
    assert "Billed are the training tokens times the epochs" in " ".join(lines[-3:])


def test_a_fault_is_one_line_that_programs_can_find_their_way_by():
    text = report_text(report(finding(column=7, message="unknown field " + "'x'" * 60)))
    (line,) = [line for line in text.splitlines() if line.startswith("train.jsonl:")]
    assert line.startswith("train.jsonl:3:7: unknown field")
    assert line.endswith(" at contents[0]. Did you mean 'text'? [unknown-field]")


def test_faults_are_grouped_by_code_the_most_frequent_first_and_warnings_last():
    shown = report_text(
        report(
            finding("last-turn", 1),
            finding("unknown-field", 2),
            finding("last-turn", 9),
            finding("unknown-field", 4),
            finding("unknown-field", 8),
            warnings=[finding("few-examples", None)],
        )
    )
    places = [line.split(": ")[0] for line in shown.splitlines() if line.startswith("train.jsonl")]
    assert places == [f"train.jsonl{line}" for line in (":2", ":4", ":8", ":1", ":9", "")]
    assert "    3  unknown-field\n    2  last-turn\n    1  few-examples   warning" in shown
    assert shown.index("\n5 errors\n") < shown.index("\n1 warning\n")


def test_what_is_counted_but_not_listed_is_said():
    shown = report_text(report(finding(), uncounted=1999))
    assert "2,000  unknown-field" in shown
    assert "… and 1,999 more, counted but not listed [unknown-field]" in shown


def test_an_estimate_of_a_rejected_dataset_says_what_it_leaves_out():
    assert "Counted are only the 5 training examples without errors." in report_text(report(finding()))
    assert "Counted are only" not in report_text(report())
    assert "Estimated" not in report_text(report(estimate=False))


def test_one_is_not_many_and_nothing_costs_nothing():
    found = report(finding())
    for examples in (0, 1):
        files = (found.train.model_copy(update={"examples": examples}),)
        estimate = found.estimate.model_copy(update={"epochs": 1})
        shown = report_text(found.model_copy(update={"files": files, "estimate": estimate}))
        if examples:
            assert "(1 example);" in shown
            assert "× 1 epoch (" in shown
            assert "Counted is only the 1 training example without errors." in shown
        else:
            assert "(0 examples);" in shown
            assert "Estimated" not in shown


def test_everything_but_faults_and_verdict_fits_80_columns():
    for line in report_text(report(finding(), uncounted=10**9)).splitlines()[1:]:
        assert len(line) <= 80 or line.startswith("train.jsonl:3")


def test_colours_are_for_terminals_whose_owner_wants_them():
    assert wants_colour(Terminal(), {})
    assert wants_colour(Terminal(), {"NO_COLOR": ""})
    assert not wants_colour(Terminal(), {"NO_COLOR": "1"})
    assert not wants_colour(Terminal(), {"TERM": "dumb"})
    assert not wants_colour(io.StringIO(), {})


def test_colours_add_nothing_but_colours():
    one = report(finding(), warnings=[finding("few-examples")], uncounted=3)
    plain, coloured = report_text(one), report_text(one, colour=True)
    assert "\x1b" not in plain
    for code in ("0", "1;31", "1;33", "2"):
        coloured = coloured.replace(f"\x1b[{code}m", "")
    assert coloured == plain


def assert_harmless(text):
    shown = report_text(hostile_report(text))
    assert all(c.isprintable() or c == "\n" for c in shown)
    assert len(shown.split("\n")) == len(report_text(hostile_report("x")).split("\n"))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_and_keys_neither_move_the_cursor_nor_break_a_line(text):
    assert_harmless(text)


@settings(derandomize=True, max_examples=100, database=None, deadline=None)
@given(st.text())
def test_no_text_at_all_does(text):
    assert_harmless(text)

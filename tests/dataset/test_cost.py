"""What a job costs, and the budget."""

import json

import pytest

from gemini_tuning.dataset.check import check_dataset
from gemini_tuning.dataset.cost import budget
from gemini_tuning.dataset.options import Checks
from gemini_tuning.errors import ConfigError
from gemini_tuning.tuning.models import ModelTable

MODELS = ModelTable.load()


@pytest.fixture
def check(tmp_path):
    """A check of 1,000 examples of 100 estimated tokens: 0.50 dollars an epoch."""
    with (tmp_path / "train.jsonl").open("w") as file:
        for number in range(1000):
            turns = [("user", f"{number:04}"), ("model", "x" * 396)]
            file.write(json.dumps({"contents": [{"role": role, "parts": [{"text": text}]} for role, text in turns]}))
            file.write("\n")

    def check(budget_usd, epochs=3, base_model="gemini-2.5-flash", **severities):
        return check_dataset(
            "train.jsonl",
            None,
            base_model=base_model,
            epochs=epochs,
            models=MODELS,
            root=tmp_path,
            storage=None,
            checks=Checks(
                second_reading=False, severities={code.replace("_", "-"): s for code, s in severities.items()}
            ),
            budget_usd=budget_usd,
        )

    return check


def test_a_job_within_its_budget_is_accepted(check):
    assert check(1.5).accepted
    assert check(None).accepted


def test_a_job_over_its_budget_is_rejected_with_all_that_the_figure_rests_on(check):
    report = check(1.49)
    assert not report.accepted
    (fault,) = report.errors
    assert (fault.code, fault.file, fault.line) == ("over-budget", "train.jsonl", None)
    for piece in ("$1.50", "$1.49", "3 epochs", "a third either way", f"price of {MODELS.as_of}"):
        assert piece in fault.message
    assert "budget_usd" in fault.hint
    assert "assumed" not in fault.message
    assert "(assumed: " in check(0.01, epochs=None).errors[0].message


def test_a_price_that_nobody_knows_is_within_no_budget(check):
    (fault,) = check(1000, base_model="projects/p/locations/l/models/1").errors
    assert fault.code == "over-budget"
    assert "no price is known" in fault.message
    assert check(None, base_model="projects/p/locations/l/models/1").accepted


def test_a_budget_can_be_made_a_matter_of_advice(check):
    report = check(0.01, over_budget="warning")
    assert report.accepted
    assert report.warnings[0].code == "over-budget"


@pytest.mark.parametrize(("written", "meant"), [(None, None), ("", None), (25, 25), ("2.5", 2.5)])
def test_a_budget_may_come_from_a_template(written, meant):
    assert budget(written) == meant


@pytest.mark.parametrize("written", [0, -1, "nan", "inf", "much", True, "25 $"])
def test_what_is_no_amount_of_money_is_one_sentence(written):
    with pytest.raises(ConfigError, match=r"budget_usd is .*US dollars"):
        budget(written)

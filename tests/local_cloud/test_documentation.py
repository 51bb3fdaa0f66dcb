"""The local cloud's own README: its script plays, and it names all there is."""

from __future__ import annotations

import re
from typing import get_args

import pytest
import yaml
from tests.local_cloud.services import INCLUDE

from local_cloud.vertex.control.script import AnswerScenario, Behaviour, Fault, JobScenario, Rule, Script, Stage

README = (INCLUDE / "local_cloud" / "README.md").read_text(encoding="utf-8")
(SCRIPT,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
PARTS = dict(re.findall(r"^(\w+):(.*?)(?=^\w|\Z)", SCRIPT, re.DOTALL | re.MULTILINE))
"""The text of the script by its first word, comments and all."""


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z_]+", text))


def test_its_script_is_a_script() -> None:
    script = Script.model_validate(yaml.safe_load(SCRIPT))
    assert script.scenarios
    assert script.faults
    assert script.answers
    assert script.jobs
    Behaviour.model_validate(script.settings)
    assert set(PARTS) == set(Script.model_fields)


@pytest.mark.parametrize(
    ("part", "model"), [("faults", Fault), ("scenarios", JobScenario), ("answers", AnswerScenario)]
)
def test_it_shows_every_kind_of_rule_and_what_can_be_matched(part: str, model: type[Rule]) -> None:
    hidden = {"message", "finish_message", "block_message"}
    assert set(model.model_fields) - set(Rule.model_fields) - hidden <= words(PARTS[part])
    assert set(Rule.model_fields) <= words(SCRIPT)


def test_it_names_every_stage() -> None:
    (stages,) = re.findall(r"^Stages: ([^.]*)\.", README, re.MULTILINE)
    assert re.findall(r"`(\w+)`", stages) == list(get_args(Stage))

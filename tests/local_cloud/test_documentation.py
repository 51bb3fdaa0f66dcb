"""The local cloud's own README: its script plays, and it names all there is."""

from __future__ import annotations

import re
from typing import get_args

import pytest
import yaml
from tests.local_cloud.services import INCLUDE

from local_cloud.vertex.control.script import AnswerScenario, Behaviour, Fault, JobScenario, Script, Stage

README = (INCLUDE / "local_cloud" / "README.md").read_text(encoding="utf-8")


def test_its_script_is_a_script() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    script = Script.model_validate(yaml.safe_load(block))
    assert script.scenarios
    assert script.faults
    assert script.answers
    assert script.jobs
    Behaviour.model_validate(script.settings)


@pytest.mark.parametrize("model", [Fault, JobScenario, AnswerScenario])
def test_it_shows_every_kind_of_rule_and_what_can_be_matched(model: type) -> None:
    shown = set(re.findall(r"[a-z_]+", README))
    hidden = {"message", "finish_message", "block_message"}
    assert set(model.model_fields) - hidden <= shown


def test_it_names_every_stage() -> None:
    assert set(get_args(Stage)) <= set(re.findall(r"[A-Z_]+", README))

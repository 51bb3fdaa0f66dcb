"""Limits of files and of examples, severities, and the table of codes."""

import json
import re

import pytest

from gemini_tuning.dataset.check import check_dataset
from gemini_tuning.dataset.codes import CODES
from gemini_tuning.dataset.options import Checks
from gemini_tuning.errors import ConfigError
from gemini_tuning.settings import include_root
from gemini_tuning.tuning.models import ModelTable

MODELS = ModelTable.load()
MODEL = "gemini-2.5-flash"


def limited(modalities=None, **limits):
    info = MODELS.models[MODEL]
    changed = info.model_copy(
        update={
            "limits": info.limits.model_copy(update=limits),
            "modalities": modalities or info.modalities,
        }
    )
    return MODELS.model_copy(update={"models": {MODEL: changed}})


def line(number, text="", parts=(), instructed=False, answer="a"):
    user = {"role": "user", "parts": [*parts, {"text": f"{number} {text}"}]}
    made = {"contents": [user, {"role": "model", "parts": [{"text": answer}]}]}
    return {**made, "systemInstruction": {"parts": [{"text": "Be kind."}]}} if instructed else made


def media(mime_type):
    return {"fileData": {"mimeType": mime_type, "fileUri": "gs://b/f"}}


@pytest.fixture
def check(tmp_path):
    def check(train, validation=(), models=MODELS, **settings):
        for name, lines in (("train.jsonl", train), ("validation.jsonl", validation)):
            (tmp_path / name).write_text("\n".join(json.dumps(one) for one in lines))
        return check_dataset(
            "train.jsonl",
            "validation.jsonl" if validation else None,
            base_model=MODEL,
            epochs=1,
            models=models,
            root=tmp_path,
            storage=None,
            **settings,
        )

    return check


def codes(report):
    return {finding.code for finding in report.errors + report.warnings} - {"few-examples"}


def test_bytes_and_examples_have_limits(check):
    train = [line(number) for number in range(20)]
    assert codes(check(train, models=limited(training_bytes=100))) == {"file-too-large"}
    assert codes(check(train, models=limited(training_examples=19))) == {"too-many-examples"}
    assert codes(check(train, [line("v1"), line("v2")], models=limited(validation_examples=1))) == {"too-many-examples"}
    assert codes(check(train, models=limited(training_examples=20))) == set()


def test_one_example_with_media_makes_the_lower_limit_count(check):
    train = [line(number) for number in range(20)]
    models = limited(multimodal_training_examples=10)
    assert codes(check(train, models=models)) == set()
    report = check([*train, line("i", parts=[media("image/png")])], models=models)
    assert codes(report) == {"too-many-examples"}
    assert "media" in report.errors[0].message


def test_the_share_of_validation_counts_above_a_thousand(check):
    train = [line(f"t{number:04}") for number in range(2000)]
    validation = [line(f"v{number:04}") for number in range(1001)]
    assert codes(check(train, validation[:1000])) == set()
    assert codes(check(train, validation)) == {"large-validation"}


def test_few_long_examples_are_a_warning_and_many_an_error(check):
    models = limited(tokens_per_example=100)
    good = [line(number) for number in range(20)]
    long = [line(f"long {number}", "word " * 100) for number in range(4)]
    report = check([*good, long[0]], models=models)
    assert report.accepted
    assert [(finding.code, finding.line) for finding in report.warnings] == [
        ("few-examples", None),
        ("long-example", 21),
    ]
    assert "a third" in report.warnings[1].message
    assert codes(check(good + long, models=models)) == {"long-example", "dropped-examples"}


@pytest.mark.parametrize(
    ("kind", "most"), [("image/png", 30), ("audio/mp3", 1), ("video/mp4", 1), ("application/pdf", 4)]
)
def test_files_of_each_kind_are_limited_per_example(check, kind, most):
    good = [line(number) for number in range(20)]
    assert codes(check([*good, line("files", parts=[media(kind)] * most)])) == set()
    report = check([*good, line("files", parts=[media(kind)] * (most + 1))])
    assert codes(report) == {"too-many-files"}
    assert f"{most + 1} " in report.warnings[-1].message
    assert "dropped-examples" in codes(check([line("files", parts=[media(kind)] * (most + 1))]))


def test_a_model_of_text_takes_no_files(check):
    report = check([line("i", parts=[media("image/png; charset=x")])], models=limited(modalities=("text",)))
    assert [(finding.code, finding.path) for finding in report.errors] == [
        ("unsupported-media", "contents[0].parts[0].fileData")
    ]
    assert codes(check([line("i", parts=[media("text/plain")])], models=limited(modalities=("text",)))) == set()


def test_tools_and_images_cost_tokens_too(check):
    plain = check([line(1)]).estimate.tokens_per_epoch
    assert check([line(1, parts=[media("image/png")])]).estimate.tokens_per_epoch >= plain + 256
    tools = [{"functionDeclarations": [{"name": "find", "description": "x" * 400}]}]
    assert check([{**line(1), "tools": tools}]).estimate.tokens_per_epoch >= plain + 100


def test_system_instructions_are_used_throughout_or_not_at_all(check):
    with_, without = [[line(f"{flag}{n}", instructed=flag) for n in range(3)] for flag in (True, False)]
    assert codes(check(with_)) == codes(check(without)) == codes(check(with_, [line("v", instructed=True)])) == set()
    assert codes(check(with_ + without)) == {"mixed-system-instructions"}
    assert codes(check(with_, [line("v")])) == {"mixed-system-instructions"}


class TestSeverities:
    def test_a_warning_can_be_made_an_error_and_an_error_a_warning(self, check):
        report = check(
            [line(1), line(1), {**line(2), "note": "x"}],
            checks=Checks(severities={"duplicate-example": "error", "unknown-field": "warning"}),
        )
        assert {finding.code for finding in report.errors} == {"duplicate-example"}
        assert {finding.code for finding in report.warnings} == {"unknown-field", "few-examples"}
        assert report.train.examples == 3
        assert (report.counts.errors, report.counts.warnings) == (1, 2)

    def test_what_is_ignored_is_not_counted(self, check):
        report = check(
            [line(1), line(1), {}],
            checks=Checks(
                severities={"duplicate-example": "ignore", "few-examples": "ignore", "missing-field": "ignore"}
            ),
        )
        assert report.accepted
        assert report.counts.by_code == {}
        assert report.train.examples == 2

    def test_an_unknown_code_or_severity_is_a_mistake(self, check):
        with pytest.raises(ConfigError, match="did you mean 'duplicate-example'"):
            check([line(1)], checks=Checks.from_json({"severities": {"duplicate-examples": "error"}}))
        with pytest.raises(ConfigError, match="'error', 'warning' or 'ignore'"):
            check([line(1)], checks=Checks.from_json({"severities": {"duplicate-example": "fatal"}}))


def test_legacy_lines_are_told_once_with_the_command_that_converts_them(check):
    chat = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    report = check([chat] * 3 + [{"input_text": "a", "output_text": "b"}, line(1)])
    assert [(finding.code, finding.line) for finding in report.errors] == [("legacy-format", 1), ("legacy-format", 4)]
    assert "3 lines" in report.errors[0].message
    assert "gemini-tuning convert train.jsonl" in report.errors[0].hint
    assert report.train.examples == 1


def test_the_documented_table_is_the_table_of_codes():
    readme = (include_root() / "datasets" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (\w+) \| (.+?) \| (.+?) \|$", readme, re.MULTILINE)
    assert rows == [(code, row.severity, row.meaning, row.remedy) for code, row in CODES.items()]

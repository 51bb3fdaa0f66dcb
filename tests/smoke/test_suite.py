import pytest

from gemini_tuning.errors import ConfigError
from gemini_tuning.smoke.assertions import holds
from gemini_tuning.smoke.suite import Assertion, GenerationSettings, SmokeSuite


@pytest.mark.parametrize(
    ("kind", "value", "answer", "expected"),
    [
        ("equals", "yes", "yes\n", True),
        ("equals", "yes", "Yes", False),
        ("contains", "Refund", "A Refund is due", True),
        ("contains", "Refund", "a refund is due", False),
        ("icontains", "REFUND", "a refund is due", True),
        ("icontains", "STRASSE", "die Straße", True),
        ("regex", r"^\[\w+\]", "[refund] Hello", True),
        ("regex", r"^\d+$", "12 x", False),
        ("is-json", None, ' {"a": 1} ', True),
        ("is-json", None, "{'a': 1}", False),
    ],
)
def test_each_assertion_and_its_negation(kind, value, answer, expected):
    assert holds(Assertion(type=kind, value=value), answer) is expected
    assert holds(Assertion(type=f"not-{kind}", value=value), answer) is not expected


def load(tmp_path, text):
    path = tmp_path / "suite.yaml"
    path.write_text(text)
    return SmokeSuite.load(path)


def test_a_suite_is_read_with_settings_that_tests_may_override(tmp_path):
    suite = load(
        tmp_path,
        """
        settings: {temperature: 0, topP: 0.9, topK: 3, maxOutputTokens: 50}
        tests:
          - prompt: hello
            settings: {maxOutputTokens: 9}
            assert: [{type: is-json}]
        """,
    )
    merged = suite.settings_of(suite.tests[0])
    assert merged == GenerationSettings(temperature=0, top_p=0.9, top_k=3, max_output_tokens=9)


def test_answers_repeat_unless_a_temperature_is_set(tmp_path):
    suite = load(tmp_path, "settings: {topP: 0.9}\ntests: [{prompt: x, assert: [{type: is-json}]}]")
    assert suite.settings_of(suite.tests[0]).temperature == 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("tests: []", "'tests'"),
        ("tests: [{prompt: x}]", "'tests[0].assert' is missing"),
        ("tests: [{prompt: x, assert: [{type: contain, value: y}]}]", "tests[0].assert[0].type"),
        ("tests: [{prompt: x, assert: [{type: contains}]}]", "contains needs a value"),
        ("tests: [{prompt: x, assert: [{type: is-json, value: y}]}]", "is-json takes no value"),
        ("tests: [{prompt: x, assert: [{type: regex, value: '('}]}]", "not a regular expression"),
        ("tests: [{promt: x, assert: [{type: is-json}]}]", "did you mean 'prompt'?"),
        ("settings: {topp: 1}\ntests: [{prompt: x, assert: [{type: is-json}]}]", "did you mean 'topP'?"),
        ("tests: [", "not valid YAML"),
        ("", "suite.yaml"),
    ],
)
def test_a_broken_suite_names_file_field_and_reason(tmp_path, text, reason):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert "suite.yaml" in str(caught.value)
    assert reason in str(caught.value)


def test_a_missing_suite_names_the_setting(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml does not exist; check the pipeline's 'smoke_suite'"):
        SmokeSuite.load(tmp_path / "nowhere.yaml")

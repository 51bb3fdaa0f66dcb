import pytest
import yaml

from gemini_tuning.errors import ConfigError
from gemini_tuning.on_demand import pipeline_of_form
from gemini_tuning.pipeline import PipelineConfig, load_pipelines
from gemini_tuning.schemas import SCHEMAS, schema_text
from gemini_tuning.settings import include_root

MINIMAL = {
    "name": "replies",
    "bucket": "my-bucket",
    "base_model": "gemini-2.5-flash",
    "train": "replies/train.jsonl",
    "smoke_suite": "replies.yaml",
}


def reason(**changes):
    with pytest.raises(ConfigError) as caught:
        PipelineConfig.parse({**MINIMAL, **changes}, "replies.yaml")
    assert str(caught.value).startswith("replies.yaml: ")
    return str(caught.value)


def test_five_settings_make_a_pipeline():
    pipeline = PipelineConfig.parse(MINIMAL, "replies.yaml")
    assert pipeline.dag_id == "tune_replies"
    assert pipeline.hyperparameters.epochs is pipeline.schedule is pipeline.validation is None
    assert PipelineConfig.from_json(pipeline.to_json()) == pipeline


@pytest.mark.parametrize("schedule", ["0 6 * * 1", "@daily", "@weekly", None])
def test_good_schedules(schedule):
    assert PipelineConfig.parse({**MINIMAL, "schedule": schedule}, "x").schedule == schedule


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        ({"buckett": "x"}, ["unknown field 'buckett'", "did you mean 'bucket'?"]),
        ({"hyperparameters": {"epoch": 1}}, ["'hyperparameters.epoch'", "did you mean 'epochs'?"]),
        ({"hyperparameters": {"epochs": 0}}, ["'hyperparameters.epochs'", "greater than or equal to 1"]),
        ({"hyperparameters": {"adapter_size": 3}}, ["'hyperparameters.adapter_size'", "1, 2, 4, 8, 16 or 32"]),
        ({"schedule": "every day"}, ["'schedule'", "neither a cron expression"]),
        ({"schedule": "61 * * * *"}, ["'schedule'"]),
        ({"tuned_model_display_name": "x" * 129}, ["'tuned_model_display_name'", "128"]),
        ({"labels": {"Team": "x"}}, ["'labels'", "lower-case"]),
        ({"labels": {"gemini-tuning-key": "x"}}, ["'labels'", "set by the pipeline"]),
        ({"train": "s3://b/x"}, ["'train'", "gs://bucket/path"]),
        ({"name": "Has Spaces"}, ["'name'"]),
        ({"name": "on_demand"}, ["'name'", "the Dag with the form"]),
        ({"train": ""}, ["'train'"]),
        ({"base_model": "projects/p/locations/l/endpoints/1"}, ["'base_model'", "models/ID"]),
        ({"checkpoint_id": "3"}, ["'checkpoint_id'", "only a tuned model"]),
        ({"hyperparameters": {"epochs": True}}, ["'hyperparameters.epochs'", "integer"]),
        ({"hyperparameters": {"learning_rate_multiplier": True}}, ["'hyperparameters.learning_rate_multiplier'"]),
        ({"wait": {"timeout_hours": float("inf")}}, ["'wait.timeout_hours'"]),
        ({"wait": {"poll_interval_seconds": 1e12}}, ["'wait.poll_interval_seconds'"]),
        ({"description": "{{ ds }}"}, ["'description'", "template marks"]),
        ({"labels": {"a": "{% x %}"}}, ["'labels.a'", "template marks"]),
        ({"bucket": "gs://b"}, ["'bucket'"]),
        ({"wait": {"mode": "poke"}}, ["'wait.mode'", "'deferrable' or 'reschedule'"]),
        ({"notifications": {"email": []}}, ["'notifications.email'"]),
        ({"budget_usd": 0}, ["'budget_usd'", "greater than 0"]),
        ({"budget_usd": "25"}, ["'budget_usd'"]),
        ({"checks": {"severity": {}}}, ["'checks.severity'", "did you mean 'severities'?"]),
        ({"checks": {"severities": {"crlff": "ignore"}}}, ["'checks.severities'", "did you mean 'crlf'?"]),
        ({"checks": {"severities": {"crlf": "fatal"}}}, ["'checks.severities.crlf'", "'error', 'warning' or 'ignore'"]),
        ({"checks": {"private_data": {"kinds": ["mail"]}}}, ["'checks.private_data.kinds[0]'", "'email'"]),
        (
            {"checks": {"private_data": {"patterns": [{"name": "id", "expression": "("}]}}},
            ["'checks.private_data.patterns[0].expression'", "not a regular expression"],
        ),
    ],
)
def test_a_fault_names_field_and_reason(changes, fragments):
    sentence = reason(**changes)
    for fragment in fragments:
        assert fragment in sentence


def test_every_fault_is_told_at_once():
    sentence = reason(name="X", bucket="")
    assert "'name'" in sentence
    assert "'bucket'" in sentence


@pytest.mark.parametrize("document", [None, [], "text"])
def test_a_file_that_is_no_mapping_says_what_one_is(document):
    with pytest.raises(ConfigError, match="a pipeline is a mapping"):
        PipelineConfig.parse(document, "x.yaml")


def test_a_broken_file_leaves_the_others_alone(tmp_path):
    (tmp_path / "good.yaml").write_text(yaml.safe_dump(MINIMAL))
    (tmp_path / "broken.yaml").write_text("name: [")
    (tmp_path / "latin.yml").write_bytes("name: Größe".encode("latin-1"))
    (tmp_path / "twin.yaml").write_text(yaml.safe_dump(MINIMAL))
    (tmp_path / "twice.yaml").write_text("name: a\nname: b\n")
    (tmp_path / "undated.yaml").write_text("description: 2025-02-30\n")
    (tmp_path / "veiled.yaml").write_text("[" * 5000)
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "notes.txt").write_text("not a pipeline")
    pipelines, errors = load_pipelines(tmp_path)
    assert [pipeline.name for pipeline in pipelines] == ["replies"]
    broken = ["broken.yaml", "folder.yaml", "latin.yml", "twice.yaml", "twin.yaml", "undated.yaml", "veiled.yaml"]
    for name, error in zip(broken, errors, strict=True):
        assert f"{name}: " in str(error)
        assert "\n" not in str(error)
    assert "line 2, column 1: key 'name' stands twice" in str(errors[3])


@pytest.mark.parametrize("field", ["hyperparameters", "wait", "schedule", "notifications", "checks"])
def test_what_the_form_would_ignore_is_refused(field):
    with pytest.raises(ConfigError, match=f"'{field}' has no place here"):
        pipeline_of_form({**MINIMAL, field: {"epochs": 1}})


def test_the_form_is_a_pipeline_with_its_hyperparameters_beside_the_rest():
    pipeline = pipeline_of_form({**MINIMAL, "epochs": 3, "adapter_size": None, "project": ""})
    assert pipeline.hyperparameters.epochs == 3
    assert pipeline.hyperparameters.adapter_size is pipeline.project is None
    with pytest.raises(ConfigError, match="trigger form: field 'bucket' is missing"):
        pipeline_of_form({key: value for key, value in MINIMAL.items() if key != "bucket"})


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schemas_for_editors_are_those_of_the_code(name):
    committed = (include_root() / "schemas" / name).read_text(encoding="utf-8")
    assert committed == schema_text(SCHEMAS[name]), "run: make schemas"

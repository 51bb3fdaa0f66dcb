"""Proto JSON: every form a client may send means the same."""

from __future__ import annotations

from typing import Any

import pytest

from local_cloud.vertex.errors import ApiError
from local_cloud.vertex.schema import GENERATE_CONTENT_REQUEST, TUNING_JOB, TUNING_JOB_REQUEST

CANONICAL = {
    "baseModel": "gemini-2.5-flash",
    "supervisedTuningSpec": {
        "trainingDatasetUri": "gs://b/t.jsonl",
        "hyperParameters": {"epochCount": 3, "learningRateMultiplier": 1.5, "adapterSize": "ADAPTER_SIZE_TWO"},
    },
}


@pytest.mark.parametrize(
    ("hyper_parameters", "spelling"),
    [
        ({"epochCount": 3, "learningRateMultiplier": 1.5, "adapterSize": "ADAPTER_SIZE_TWO"}, "camel"),
        ({"epoch_count": "3", "learning_rate_multiplier": "1.5", "adapter_size": 6}, "snake"),
        ({"epochCount": 3.0, "learning_rate_multiplier": 1.5, "adapterSize": "6", "batchSize": None}, "camel"),
    ],
)
def test_all_spellings_mean_the_same(hyper_parameters: dict[str, Any], spelling: str) -> None:
    if spelling == "camel":
        spec = {"trainingDatasetUri": "gs://b/t.jsonl", "hyperParameters": hyper_parameters}
        body = {"baseModel": "gemini-2.5-flash", "supervisedTuningSpec": spec}
    else:
        spec = {"training_dataset_uri": "gs://b/t.jsonl", "hyper_parameters": hyper_parameters}
        body = {"base_model": "gemini-2.5-flash", "supervised_tuning_spec": spec}
    assert TUNING_JOB_REQUEST.read(body) == CANONICAL


def test_answers_have_strings_for_int64_and_numbers_for_enums_on_request() -> None:
    job = {**CANONICAL, "state": "JOB_STATE_RUNNING", "tuningJobState": "TUNING_JOB_STATE_TUNING", "error": None}
    named = TUNING_JOB["v1beta1"].write(job)
    assert named["supervisedTuningSpec"]["hyperParameters"]["epochCount"] == "3"
    assert (named["state"], named["tuningJobState"]) == ("JOB_STATE_RUNNING", "TUNING_JOB_STATE_TUNING")
    assert "error" not in named
    assert "tuningJobState" not in TUNING_JOB["v1"].write(job)
    numbered = TUNING_JOB["v1beta1"].write(job, enum_numbers=True)
    assert (numbered["state"], numbered["tuningJobState"]) == (3, 4)
    assert numbered["supervisedTuningSpec"]["hyperParameters"]["adapterSize"] == 6


@pytest.mark.parametrize(
    "hyper_parameters",
    [
        {"epochCount": "three"},
        {"epochCount": 1.5},
        {"epochCount": True},
        {"epochCount": 2**63},
        {"epochCount": float("inf")},
        {"epochCount": []},
        {"learningRateMultiplier": "NaN"},
        {"learningRateMultiplier": {}},
        {"adapterSize": 7},
        {"adapterSize": -1},
        {"adapterSize": "ADAPTER_SIZE_THREE"},
        {"adapterSize": False},
        {"epochs": 1},
    ],
)
def test_a_wrong_value_is_refused_by_its_proto_name(hyper_parameters: dict[str, Any]) -> None:
    body = {"supervisedTuningSpec": {"hyperParameters": hyper_parameters}}
    with pytest.raises(ApiError, match=r"tuning_job\.supervised_tuning_spec\.hyper_parameters") as refusal:
        TUNING_JOB_REQUEST.read(body, "tuning_job")
    assert refusal.value.code == 400
    assert refusal.value.details[0]["fieldViolations"][0]["field"]


def test_a_single_object_counts_as_a_list_of_one() -> None:
    body = {"contents": {"role": "USER", "parts": {"text": "Hello"}}}
    assert GENERATE_CONTENT_REQUEST.read(body) == {"contents": [{"role": "USER", "parts": [{"text": "Hello"}]}]}

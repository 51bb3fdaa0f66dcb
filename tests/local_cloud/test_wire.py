"""Proto JSON: every form a client may send means the same."""

from __future__ import annotations

from typing import Any

import pytest

from local_cloud.vertex.errors import ApiError
from local_cloud.vertex.wire.content import GENERATE_CONTENT_REQUEST
from local_cloud.vertex.wire.kinds import BYTES, DOUBLE, INT32, INT64, STRING, Enum, Kind, Many, Map, Message
from local_cloud.vertex.wire.strict_json import read_json
from local_cloud.vertex.wire.tuning import TUNING_JOB, TUNING_JOB_REQUEST

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
    colour = Enum("Colour", ("UNKNOWN", "RED"))
    assert colour.write("ULTRAVIOLET", enum_numbers=False) == "ULTRAVIOLET"
    assert colour.write("ULTRAVIOLET", enum_numbers=True) > 1  # a number that no client knows either


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


@pytest.mark.parametrize(
    ("kind", "value", "meaning"),
    [
        (INT64, "3e2", 300),
        (INT64, -(2**63), -(2**63)),
        (INT32, 2147483647.0, 2147483647),
        (DOUBLE, "-0.5", -0.5),
        (DOUBLE, 10**300, 1e300),
        (BYTES, "_-8", "/+8="),
        (BYTES, "/+8=", "/+8="),
        (BYTES, "", ""),
        (Map(INT64), {"snake_case": "1"}, {"snake_case": 1}),
        (Many(STRING), "one", ["one"]),
        (Enum("Colour", ("UNKNOWN", "DARK_RED")), "dark-red", "DARK_RED"),
    ],
)
def test_each_form_of_a_value_has_one_meaning(kind: Kind, value: Any, meaning: Any) -> None:
    assert kind.read(value, "field") == meaning


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *((INT64, value) for value in (2**63, "1e19", "1e999999999999999999999", "1_0", " 3", "٣", "", "0x1", 1e300)),
        *((DOUBLE, value) for value in (10**400, "1e400", "1_0", "inf", float("nan"))),
        *((BYTES, value) for value in ("a", "é", "a b=", 3)),
        (Map(INT64), []),
        (Many(STRING), [None]),
        (Enum("Colour", ("UNKNOWN", "DARK_RED")), 0.5),
    ],
)
def test_what_is_no_value_of_the_kind_is_refused(kind: Kind, value: Any) -> None:
    with pytest.raises(ApiError, match="Invalid value at 'field"):
        kind.read(value, "field")


def test_a_field_given_in_both_spellings_is_refused() -> None:
    with pytest.raises(ApiError, match="'epochCount' is given twice"):
        Message({"epochCount": INT64}).read({"epochCount": 1, "epoch_count": 2}, "spec")


def test_only_one_field_of_a_oneof_can_be_set() -> None:
    message = Message({"baseModel": STRING, "preTunedModel": STRING}, {"source": ("baseModel", "preTunedModel")})
    assert message.read({"base_model": "a", "pre_tuned_model": None}) == {"baseModel": "a"}
    with pytest.raises(ApiError, match=r"oneof field 'source' is already set\. Cannot set 'preTunedModel'"):
        message.read({"baseModel": "a", "preTunedModel": "b"})


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e400}',
        rb'{"a": "\ud800"}',
        b"[" * 101 + b"]" * 101,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b"[" * 100_000,
        b"\xff",
        b"9" * 5000,
    ],
)
def test_json_that_could_not_be_answered_again_is_not_read(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_json(raw)


def test_json_may_be_as_deep_as_a_message_may() -> None:
    assert read_json(b"[" * 100 + b"]" * 100)
    assert len(read_json(b"[" + b"[]," * 500 + b"[]]")) == 501

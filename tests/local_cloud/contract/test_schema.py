"""The server's own message tables against the official protos: names, kinds, enum numbers, oneofs."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.descriptor import FieldDescriptor

from local_cloud.vertex.wire.content import COUNT_TOKENS_REQUEST, GENERATE_CONTENT_REQUEST, GENERATE_CONTENT_RESPONSE
from local_cloud.vertex.wire.evaluation import EVALUATION_CONFIG
from local_cloud.vertex.wire.generation import GENERATION_CONFIG
from local_cloud.vertex.wire.kinds import BOOL, BYTES, DOUBLE, INT32, INT64, STRING, Enum, Kind, Many, Map, Message
from local_cloud.vertex.wire.tuning import TIME_SERIES, TIME_SERIES_DATA, TUNING_JOB

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCALARS: dict[int, Kind] = {
    FieldDescriptor.TYPE_STRING: STRING,
    FieldDescriptor.TYPE_BOOL: BOOL,
    FieldDescriptor.TYPE_BYTES: BYTES,
    FieldDescriptor.TYPE_DOUBLE: DOUBLE,
    FieldDescriptor.TYPE_FLOAT: DOUBLE,
    FieldDescriptor.TYPE_INT32: INT32,
    FieldDescriptor.TYPE_INT64: INT64,
}


def _faults(descriptor: Any, message: Message, path: str, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """Where a message table says something else than its proto. What a table passes on unread is not looked into."""
    official = {field.json_name: field for field in descriptor.fields}
    for name, kind in message.fields.items():
        where = f"{path}.{name}"
        if name not in official:
            yield f"{where}: not in the proto"
        else:
            yield from _field_faults(official[name], kind, where, seen | {descriptor.full_name})
    for oneof, members in message.oneofs.items():
        named = {item.name: {field.json_name for field in item.fields} for item in descriptor.oneofs}
        if not set(members) & named.get(oneof, set()):
            yield f"{path}: oneof {oneof} is not the proto's"


def _field_faults(field: Any, kind: Kind, where: str, seen: frozenset[str]) -> Iterator[str]:
    kind_of_message = field.message_type
    if kind_of_message and kind_of_message.GetOptions().map_entry:
        if isinstance(kind, Map):
            yield from _field_faults(kind_of_message.fields_by_name["value"], kind.kind, f"{where}[]", seen)
        return
    if isinstance(kind, Many) != _repeated(field) and not _passed_on(kind):
        yield f"{where}: repeated in only one of the two"
        return
    kind = kind.kind if isinstance(kind, Many) else kind
    if _passed_on(kind):
        return
    if kind_of_message and kind_of_message.full_name == "google.protobuf.Timestamp":
        if kind != STRING:
            yield f"{where}: a timestamp is a string"
    elif kind_of_message:
        if not isinstance(kind, Message):
            yield f"{where}: is a message"
        elif kind_of_message.full_name not in seen:
            yield from _faults(kind_of_message, kind, where, seen)
    elif field.enum_type:
        yield from _enum_faults(field.enum_type, kind, where)
    elif kind is not _SCALARS[field.type]:
        yield f"{where}: {kind} for type {field.type}"


def _enum_faults(official: Any, kind: Kind, where: str) -> Iterator[str]:
    if kind == STRING:
        return  # names are passed on
    if not isinstance(kind, Enum):
        yield f"{where}: is an enum"
        return
    for value in official.values:
        if value.number >= len(kind.names):
            yield f"{where}: lacks {value.name}"
        elif kind.names[value.number] != value.name:
            yield f"{where}: {value.name} is {value.number}"


def _repeated(field: Any) -> bool:
    return bool(field.is_repeated)


def _passed_on(kind: Kind) -> bool:
    return getattr(kind, "type_name", "") == "TYPE_MESSAGE"


def _descriptor(version: str, name: str) -> Any:
    kind = getattr(importlib.import_module(f"google.cloud.aiplatform_{version}"), name)
    return kind.pb(kind()).DESCRIPTOR


def _missing(descriptor: Any, message: Message, path: str, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """Fields of a proto that a table does not have, at any depth."""
    for field in descriptor.fields:
        kind = message.fields.get(field.json_name)
        if kind is None:
            yield f"{path}.{field.json_name}"
            continue
        inner = getattr(kind, "kind", kind)
        if isinstance(inner, Message) and field.message_type and field.message_type.full_name not in seen:
            known = seen | {field.message_type.full_name}
            if not field.message_type.GetOptions().map_entry:
                yield from _missing(field.message_type, inner, f"{path}.{field.json_name}", known)


# What google-genai or the REST reference has beyond the installed protos.
_BEYOND = {
    "v1beta1": {
        "tuningJobState",
        "tuningJobMetadata",
        "preferenceOptimizationSpec",
        "gcsMetricsUri",
        "tuningDataStats.preferenceOptimizationDataStats",
    },
    "v1": {
        "preferenceOptimizationSpec",
        "gcsMetricsUri",
        "tuningDataStats.preferenceOptimizationDataStats",
    },
}


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_tuning_job_is_the_official_one(version: str) -> None:
    faults = list(_faults(_descriptor(version, "TuningJob"), TUNING_JOB[version], "TuningJob"))
    beyond = {f"TuningJob.{name}: not in the proto" for name in _BEYOND[version]}
    unknown = [fault for fault in faults if fault not in beyond and "evaluationConfig" not in fault]
    if version == "v1":  # v1 answers these only when they were posted to v1beta1
        unknown = [fault for fault in unknown if not fault.startswith("TuningJob.supervisedTuningSpec")]
    assert unknown == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("TensorboardTimeSeries", TIME_SERIES),
        ("TimeSeriesData", TIME_SERIES_DATA),
    ],
)
def test_metrics_are_the_official_ones(name: str, message: Message) -> None:
    assert list(_faults(_descriptor("v1", name), message, name)) == []


def test_an_evaluation_may_have_every_official_field() -> None:
    descriptor = _descriptor("v1beta1", "EvaluationConfig")
    assert list(_missing(descriptor, EVALUATION_CONFIG, "EvaluationConfig")) == []
    beyond = {"codeExecutionRegion", "stepAutoraterConfigs"}  # google-genai's own
    faults = [fault for fault in _faults(descriptor, EVALUATION_CONFIG, "") if "enerationConfig" not in fault]
    assert {fault.partition(":")[0].rpartition(".")[2] for fault in faults} <= beyond


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_generation_settings_may_have_every_official_field(version: str) -> None:
    descriptor = _descriptor(version, "GenerationConfig")
    assert list(_missing(descriptor, GENERATION_CONFIG, "GenerationConfig")) == []
    wrong = [fault for fault in _faults(descriptor, GENERATION_CONFIG, "") if "not in the proto" not in fault]
    assert wrong == []


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
@pytest.mark.parametrize(
    ("name", "message"),
    [("GenerateContentRequest", GENERATE_CONTENT_REQUEST), ("CountTokensRequest", COUNT_TOKENS_REQUEST)],
)
def test_a_prompt_may_have_every_official_field(version: str, name: str, message: Message) -> None:
    descriptor = _descriptor(version, name)
    assert [path for path in _missing(descriptor, message, name) if "." not in path.partition(".")[2]] == []
    wrong = [fault for fault in _faults(descriptor, message, name) if "not in the proto" not in fault]
    assert wrong == []


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_an_answer_is_the_official_one(version: str) -> None:
    descriptor = _descriptor(version, "GenerateContentResponse")
    faults = _faults(descriptor, GENERATE_CONTENT_RESPONSE, "GenerateContentResponse")
    # contents are the table of requests, which knows more; what is never answered need not be known
    assert [fault for fault in faults if ".content.parts." not in fault and ": lacks " not in fault] == []

"""Google's own message types, as judges of every request and answer.

What the local cloud answers must parse into the official proto types without an unknown field, and must be written
the way Google writes it: parsed and printed again it has to be the same document.
"""

from __future__ import annotations

import enum
import importlib
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from google.genai import types as genai_types
from google.longrunning import operations_pb2
from google.protobuf import descriptor_pool, empty_pb2, json_format
from google.rpc import code_pb2, error_details_pb2, status_pb2
from pydantic import TypeAdapter

if TYPE_CHECKING:
    from tests.local_cloud.contract.proxy import Exchange

assert error_details_pb2.DESCRIPTOR  # loaded, so that the details of errors can be parsed

_P = "projects/[^/:]+/locations/[^/:]+"
_RUN = f"{_P}/tensorboards/[^/:]+/experiments/[^/:]+/runs/[^/:]+"
_CONTEXTS = f"{_P}/metadataStores/[^/:]+"
# Method, path below the version, type of the request's body, type of the answer (of each piece of a stream).
_ROUTES: tuple[tuple[str, str, str | None, str], ...] = (
    ("POST", f"{_P}/tuningJobs", "TuningJob", "TuningJob"),
    ("GET", f"{_P}/tuningJobs", None, "ListTuningJobsResponse"),
    ("GET", f"{_P}/tuningJobs/[^/:]+", None, "TuningJob"),
    ("POST", f"{_P}/tuningJobs/[^/:]+:cancel", "CancelTuningJobRequest", "Empty"),
    ("POST", f"{_P}/.+:(stream)?[gG]enerateContent", "GenerateContentRequest", "GenerateContentResponse"),
    ("POST", f"{_P}/.+:countTokens", "CountTokensRequest", "CountTokensResponse"),
    ("GET", f"{_P}/models", None, "ListModelsResponse"),
    ("GET", f"{_P}/models/[^/:]+", None, "Model"),
    ("PATCH", f"{_P}/models/[^/:]+", "Model", "Model"),
    ("DELETE", f"{_P}/models/[^/:]+", None, "Operation"),
    ("GET", f"{_P}/models/[^/:]+:listVersions", None, "ListModelVersionsResponse"),
    ("GET", f"{_P}/models/[^/:]+:listCheckpoints", None, "ListModelVersionCheckpointsResponse"),
    ("DELETE", f"{_P}/models/[^/:]+:deleteVersion", None, "Operation"),
    ("POST", f"{_P}/models/[^/:]+:mergeVersionAliases", "MergeVersionAliasesRequest", "Model"),
    ("GET", f"{_P}/endpoints", None, "ListEndpointsResponse"),
    ("GET", f"{_P}/endpoints/[^/:]+", None, "Endpoint"),
    ("GET", f"{_P}/(.+/)?operations/[^/:]+", None, "Operation"),
    ("GET", f"{_CONTEXTS}/contexts", None, "ListContextsResponse"),
    ("GET", f"{_CONTEXTS}/contexts/[^/:]+", None, "Context"),
    ("GET", f"{_CONTEXTS}/artifacts/[^/:]+", None, "Artifact"),
    ("GET", f"{_P}/tensorboards/[^/:]+", None, "Tensorboard"),
    ("GET", f"{_P}/tensorboards/[^/:]+:batchRead", None, "BatchReadTensorboardTimeSeriesDataResponse"),
    ("GET", _RUN, None, "TensorboardRun"),
    ("GET", f"{_RUN}/timeSeries", None, "ListTensorboardTimeSeriesResponse"),
    ("GET", f"{_RUN}/timeSeries/[^/:]+", None, "TensorboardTimeSeries"),
    ("GET", f"{_RUN}/timeSeries/[^/:]+:read", None, "ReadTensorboardTimeSeriesDataResponse"),
)
_COMMON = {"Empty": empty_pb2.Empty, "Operation": operations_pb2.Operation}

# Fields that Google's REST reference or google-genai has, but the installed protos don't: the type that judges them
# instead, by version and by the path of the field in a TuningJob.
_PREFERENCE = {
    "preferenceOptimizationSpec": genai_types.PreferenceOptimizationSpec,
    "tuningDataStats.preferenceOptimizationDataStats": genai_types.PreferenceOptimizationDataStats,
}
BEYOND_PROTOS: dict[str, dict[str, Any]] = {
    "v1": {
        **_PREFERENCE,  # posted to v1 in the samples of "Preference tuning"
        "gcsMetricsUri": str,
    },
    "v1beta1": {
        **_PREFERENCE,
        "gcsMetricsUri": str,
        "tuningJobState": genai_types.TuningJobState,
        "tuningJobMetadata": genai_types.TuningJobMetadata,
    },
}
# google-genai's own types of preference tuning have no evaluationConfig, though it sends one.
_BEYOND_GENAI = {"preferenceOptimizationSpec": ("evaluationConfig", "evaluation_config")}

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{3}|\d{6}|\d{9}))?Z")
_CODES = {
    400: ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"),
    401: ("UNAUTHENTICATED",),
    403: ("PERMISSION_DENIED",),
    404: ("NOT_FOUND",),
    409: ("ALREADY_EXISTS", "ABORTED"),
    429: ("RESOURCE_EXHAUSTED",),
    499: ("CANCELLED",),
    500: ("INTERNAL", "UNKNOWN", "DATA_LOSS"),
    501: ("UNIMPLEMENTED",),
    503: ("UNAVAILABLE",),
    504: ("DEADLINE_EXCEEDED",),
}


def check(exchange: Exchange) -> None:
    """Fail unless both sides of an exchange keep to Google's types.

    What a caller wrote by hand may be looser than any client library: then only the answer is judged.
    """
    version, _, path = exchange.path.strip("/").partition("/")
    asked, answered = _types_of(exchange.method, path)
    if exchange.status != 200:
        check_error(exchange.status, exchange.answer)
        return
    if asked and exchange.official:
        parse(version, asked, exchange.request)
    for document in exchange.answers:
        message = parse(version, answered, document)
        _check_form(version, answered, document, message, numbers="enum-encoding=int" in unquote(exchange.query))


def _types_of(method: str, path: str) -> tuple[str | None, str]:
    for routed, pattern, asked, answered in _ROUTES:
        if routed == method and re.fullmatch(pattern, path):
            return asked, answered
    raise AssertionError(f"no official method for {method} {path}")


def parse(version: str, type_name: str, document: Any) -> Any:
    """Return the official message that ``document`` means; fail when it has a field that the type hasn't."""
    document = _without_nulls(document)
    for job in _jobs(type_name, document):
        _judge_beyond_protos(version, job)
    message = _message(version, type_name)
    try:
        json_format.ParseDict(document, message, descriptor_pool=descriptor_pool.Default())
    except json_format.ParseError as error:
        raise AssertionError(f"not a {version} {type_name}: {error}") from error
    return message


def check_error(status: int, document: Any) -> None:
    """Fail unless this is an error as every Google API answers it, with details that are ``google.rpc`` messages."""
    assert set(document) == {"error"}, document
    error = document["error"]
    assert set(error) <= {"code", "message", "status", "details"}, error
    assert type(error["code"]) is int
    assert error["code"] == status
    assert error["status"] in _CODES[status], error
    assert error["message"]
    assert isinstance(error["message"], str)
    rest = {**error, "code": code_pb2.Code.Value(error["status"])}
    del rest["status"]
    json_format.ParseDict(rest, status_pb2.Status(), descriptor_pool=descriptor_pool.Default())


def _message(version: str, type_name: str) -> Any:
    if type_name in _COMMON:
        return _COMMON[type_name]()
    types = importlib.import_module(f"google.cloud.aiplatform_{version}")
    kind = getattr(types, type_name)
    return kind.pb(kind())


def _jobs(type_name: str, document: Any) -> list[dict[str, Any]]:
    if type_name == "TuningJob":
        return [document]
    return document.get("tuningJobs", []) if type_name == "ListTuningJobsResponse" else []


def _judge_beyond_protos(version: str, job: dict[str, Any]) -> None:
    """Take the fields beyond the protos out of a job and let google-genai's types judge them."""
    for path, kind in BEYOND_PROTOS[version].items():
        *parents, name = path.split(".")
        holder: Any = job
        for parent in parents:
            holder = holder.get(parent, {})
        if name not in holder:
            continue
        value = holder.pop(name)
        for field in _BEYOND_GENAI.get(name, ()):
            value.pop(field, None)
        if issubclass(kind, enum.Enum):
            assert type(value) is int or value in kind.__members__, f"{path}: {value}"
        else:
            TypeAdapter(kind).validate_python(value)  # google-genai's types forbid unknown fields


def _without_nulls(value: Any) -> Any:
    """Copy a document without its nulls: in proto JSON they mean unset."""
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _check_form(version: str, type_name: str, document: Any, message: Any, *, numbers: bool) -> None:
    """Fail unless an answer is written the way Google writes it."""
    written = json_format.MessageToDict(
        message, use_integers_for_enums=numbers, descriptor_pool=descriptor_pool.Default()
    )
    answered = json.loads(json.dumps(document))
    for job in _jobs(type_name, answered):
        _check_form_beyond_protos(version, job, numbers=numbers)
    _compare(answered, written, type_name)


def _check_form_beyond_protos(version: str, job: dict[str, Any], *, numbers: bool) -> None:
    for path in BEYOND_PROTOS[version]:
        *parents, name = path.split(".")
        holder: Any = job
        for parent in parents:
            holder = holder.get(parent, {})
        value = holder.pop(name, None)
        if name == "tuningJobState" and value is not None:
            assert type(value) is (int if numbers else str), f"tuningJobState: {value!r}"
        for count in ("epochCount", "completedEpochCount", "completedStepCount", "tuningDatasetExampleCount"):
            for part in (value, (value or {}).get("hyperParameters", {})) if isinstance(value, dict) else ():
                assert isinstance(part.get(count, ""), str), f"{name}.{count} is no string"


def _compare(answered: Any, written: Any, path: str) -> None:
    """Fail where ``answered`` differs from what Google would have written; unset values may be spelled out."""
    if isinstance(answered, dict):
        assert isinstance(written, dict), path
        for name, value in answered.items():
            if name not in written:
                assert value in ({}, [], "", 0, "0", False), f"{path}.{name} is answered as {value!r}"
            else:
                _compare(value, written[name], f"{path}.{name}")
    elif isinstance(answered, list):
        assert isinstance(written, list), path
        assert len(answered) == len(written), path
        for index, pair in enumerate(zip(answered, written, strict=True)):
            _compare(*pair, f"{path}[{index}]")
    elif isinstance(answered, str) and (time := _TIME.fullmatch(answered)):
        other = _TIME.fullmatch(written)
        assert other, f"{path}: {answered!r} where Google writes {written!r}"
        assert time[1] == other[1], path
        assert (time[2] or "").rstrip("0") == (other[2] or "").rstrip("0"), path
    elif isinstance(answered, float) or isinstance(written, float):
        assert isinstance(answered, (int, float)), f"{path}: {answered!r} where Google writes {written!r}"
        assert abs(answered - written) <= 1e-6 * max(1.0, abs(written)), f"{path}: {answered!r} is not {written!r}"
    else:
        same = type(answered) is type(written) and answered == written
        assert same, f"{path}: {answered!r} where Google writes {written!r}"

"""Whatever a client sends, the local Vertex AI answers: no failure of its own, no hang, always Google's error shape.

The examples are the same in every run. A longer search, with other examples each time and so many of each kind:
``LOCAL_CLOUD_FUZZ=3000 pytest tests/local_cloud/test_fuzz.py``.
"""

from __future__ import annotations

import copy
import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.local_cloud.services import running_local_cloud, wait_for_job
from tests.local_cloud.test_metrics import run_of, series_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

_LONG = os.environ.get("LOCAL_CLOUD_FUZZ")
_FUZZ = settings(
    max_examples=int(_LONG or 60),
    derandomize=not _LONG,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
_PARENT = "projects/local-dev/locations/us-central1"
_MODEL = "publishers/google/models/gemini-2.5-flash"
_JOB = {
    "baseModel": "gemini-2.5-flash",
    "tunedModelDisplayName": "fuzz",
    "description": "fuzz",
    "labels": {"team": "fuzz"},
    "encryptionSpec": {"kmsKeyName": "projects/p/locations/l/keyRings/r/cryptoKeys/k"},
    "supervisedTuningSpec": {
        "trainingDatasetUri": "gs://tuning/fuzz.jsonl",
        "validationDatasetUri": "gs://tuning/fuzz.jsonl",
        "hyperParameters": {"epochCount": "2", "learningRateMultiplier": 1.0, "adapterSize": "ADAPTER_SIZE_FOUR"},
        "exportLastCheckpointOnly": False,
        "evaluationConfig": {
            "metrics": [{"pointwise_metric_spec": {"metric_prompt_template": "?"}, "aggregation_metrics": ["AVERAGE"]}],
            "outputConfig": {"gcsDestination": {"outputUriPrefix": "gs://tuning/out"}},
            "inferenceGenerationConfig": {
                "responseSchema": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}
            },
        },
    },
}
_PROMPT = {
    "contents": [{"role": "user", "parts": [{"text": "Which shelf?"}]}],
    "systemInstruction": {"parts": [{"text": "Be brief."}]},
    "generationConfig": {
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 40,
        "maxOutputTokens": 4,
        "candidateCount": 1,
        "stopSequences": ["x"],
        "seed": 3,
        "thinkingConfig": {"thinkingBudget": 0},
    },
    "labels": {"a": "b"},
}
_TOOLS = {**_PROMPT, "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "STRING"}}]}]}
_COUNT = {"contents": _PROMPT["contents"], "systemInstruction": _PROMPT["systemInstruction"]}


def _job_with_model(job: str, model: str) -> dict[str, Any]:
    endpoint = f"{_PARENT}/endpoints/{model}"
    checkpoints = [{"checkpointId": "1", "epoch": "1", "step": "5", "endpoint": endpoint}]
    return {
        "name": f"{_PARENT}/tuningJobs/{job}",
        "baseModel": "gemini-2.5-flash",
        "state": "JOB_STATE_SUCCEEDED",
        "createTime": "2026-01-01T00:00:00Z",
        "tunedModel": {"model": f"{_PARENT}/models/{model}@1", "endpoint": endpoint, "checkpoints": checkpoints},
        "labels": {"a": "b"},
    }


_PLANTED = _job_with_model("1234567890123456789", "66")
_THERE = ({"name": f"{_PARENT}/tuningJobs/1", "state": "JOB_STATE_RUNNING"}, _job_with_model("77", "77"))
"""Jobs that are planted anew before whatever may change them: one to cancel, one with a model."""
_FAULT = {"path": "^never$", "status": 503, "message": "down", "retry_after": 1, "times": 2, "skip": 1}
_SCENARIO = {"labels": {"never": "x"}, "seconds": {"QUEUED": 1}, "end": {"state": "JOB_STATE_FAILED", "code": 13}}
_ANSWER = {"model": "^never$", "text": "hello", "finish_reason": "STOP"}
_SETTINGS = {"queued_seconds": 1, "quota": 2, "over_quota": "queue", "list_lag_seconds": 0.5, "token_seconds": 60}
_UPDATE = {"defaultCheckpointId": "1", "displayName": "new", "labels": {"a": "b"}}
_BODIES: dict[str, tuple[str, str, Any]] = {
    "create": ("POST", "tuningJobs", _JOB),
    "generate": ("POST", f"{_MODEL}:generateContent", _PROMPT),
    "stream": ("POST", f"{_MODEL}:streamGenerateContent?alt=sse", _PROMPT),
    "tools": ("POST", f"{_MODEL}:generateContent", _TOOLS),
    "count": ("POST", f"{_MODEL}:countTokens", _COUNT),
    "cancel": ("POST", "tuningJobs/1:cancel", {}),
    "update": ("PATCH", "models/77", _UPDATE),
    "plant": ("POST", "/_local/jobs", _PLANTED),
    "fault": ("POST", "/_local/faults", _FAULT),
    "scenario": ("POST", "/_local/scenarios", _SCENARIO),
    "answer": ("POST", "/_local/answers", _ANSWER),
    "settings": ("PATCH", "/_local/settings", _SETTINGS),
}
_ODD = (
    0,
    -1,
    2**31,
    2**63,
    10**30,
    1e308,
    -0.5,
    True,
    None,
    "",
    "0",
    "\u0661",
    "\u0000",
    "a\u0301" * 9,
    "💥" * 40,
    "x" * 9000,
    "x" * 70_000,
)
_text = st.text(max_size=30)
_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _text
_anything = st.recursive(
    _scalars | st.sampled_from(_ODD),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A local cloud of its own, whose jobs never train, after which it has to be in good health."""
    with running_local_cloud(tmp_path_factory.mktemp("fuzz"), pending_seconds=100_000) as cloud:
        cloud.upload("fuzz.jsonl", [{"contents": _PROMPT["contents"] + [{"role": "model", "parts": [{"text": "A"}]}]}])
        with cloud.http() as client:
            yield client
            assert client.get("/_local/health").json() == {"status": "ok"}
            for path in ("tuningJobs", "models", "endpoints"):
                for query in ("pageSize=1000", "pageSize=1000&$alt=json;enum-encoding=int"):
                    assert client.get(f"/v1/{cloud.parent}/{path}?{query}").status_code == 200, path


@pytest.fixture(scope="module")
def measured(target: httpx.Client) -> dict[str, str]:
    """The names of what a job that did train was measured by, each by what stands for it in a path or query."""
    rule = {"labels": {"team": "measured"}, "seconds": {"PENDING": 0}}
    target.post("/_local/scenarios", json=rule).raise_for_status()
    job = target.post(f"/v1/{_PARENT}/tuningJobs", json={**_JOB, "labels": {"team": "measured"}}).json()
    run = run_of(target, wait_for_job(target, job["name"], "JOB_STATE_SUCCEEDED"))
    series = series_of(target, run)["/train_total_loss"]["name"]
    return {"{run}": run, "{board}": run.partition("/experiments/")[0], "{series}": series}


def _paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """All places in a document, but for the document itself."""
    if path:
        yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, item in items:
        yield from _paths(item, (*path, key))


@st.composite
def _mutated(draw: Callable[..., Any], body: Any) -> Any:
    """A good body with one or two places changed, doubled under another name, or removed."""
    body = copy.deepcopy(body)
    for _ in range(draw(st.integers(1, 2))):
        places = list(_paths(body))
        if not places:
            return draw(_anything)
        *parents, last = draw(st.sampled_from(places))
        holder = body
        for key in parents:
            holder = holder[key]
        change = draw(st.sampled_from(("replace", "replace", "remove", "rename", "wrap")))
        if change == "replace":
            holder[last] = draw(st.sampled_from(_ODD) | _anything)
        elif change == "wrap":
            holder[last] = draw(st.sampled_from(([holder[last]], {"a": holder[last]}, [holder[last]] * 70)))
        elif change == "rename" and isinstance(holder, dict):
            holder[draw(st.sampled_from(("", "x", "base_model", f"{last}_", "contents")) | _text)] = holder.pop(last)
        else:
            holder.pop(last)
    return body


def _send(client: httpx.Client, method: str, path: str, **request: Any) -> int:
    """Send a request; fail unless the answer is one that Google could give, and return its status."""
    url = path if path.startswith("/") else f"/v1beta1/{_PARENT}/{path}"
    answer = client.request(method, f"{str(client.base_url).rstrip('/')}{url}", timeout=20, **request)
    if answer.status_code == 200:
        if not answer.headers["content-type"].startswith("text/event-stream"):
            answer.json()
        return 200
    assert 400 <= answer.status_code < 500 or answer.status_code == 501, answer.text
    error = answer.json()["error"]
    assert set(error) <= {"code", "message", "status", "details"}
    assert error["code"] == answer.status_code
    assert error["message"]
    assert error["status"].isupper()
    return answer.status_code


def _plant(client: httpx.Client) -> None:
    for job in _THERE:
        client.post("/_local/jobs", json=job).raise_for_status()


def _send_body(client: httpx.Client, kind: str, body: bytes) -> int:
    """Send a body, and take back what it may have scripted: that would strike the requests after it."""
    method, path, _ = _BODIES[kind]
    before = client.get("/_local/settings").json()
    if kind in ("cancel", "update"):
        _plant(client)
    status = _send(client, method, path, content=body)
    if kind == "settings":
        client.patch(path, json=before).raise_for_status()
    elif kind in ("fault", "scenario", "answer"):
        client.delete(path).raise_for_status()
    return status


def _bytes(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=True).encode()


@pytest.mark.parametrize("kind", _BODIES)
def test_the_bodies_are_good_before_they_are_spoiled(target: httpx.Client, kind: str) -> None:
    assert _send_body(target, kind, _bytes(_BODIES[kind][2])) == (501 if kind == "tools" else 200)


@pytest.mark.parametrize("kind", _BODIES)
def test_spoiled_bodies(target: httpx.Client, kind: str) -> None:
    @_FUZZ
    @given(_mutated(_BODIES[kind][2]))
    def search(spoiled: Any) -> None:
        _send_body(target, kind, _bytes(spoiled))

    search()


@pytest.mark.parametrize("kind", _BODIES)
def test_long_strings(target: httpx.Client, kind: str) -> None:
    """A line of a request, a name of a file and a column of a table have an end: what is put there may have none."""
    for *parents, last in _paths(_BODIES[kind][2]):
        body = copy.deepcopy(_BODIES[kind][2])
        holder = body
        for key in parents:
            holder = holder[key]
        if isinstance(holder[last], str):
            before, slash, after = holder[last].rpartition("/")
            holder[last] = f"{before}{slash}{'1' * 70_000}{after}"
            _send_body(target, kind, _bytes(body))


@_FUZZ
@given(st.sampled_from(sorted(_BODIES)), _anything.map(_bytes) | st.binary(max_size=200))
def test_bodies_of_any_kind(target: httpx.Client, kind: str, body: bytes) -> None:
    _send_body(target, kind, body)


@pytest.mark.parametrize("kind", _BODIES)
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"contents":' * 20_000,
        b'{"labels":' + b"[" * 99 + b"]" * 99 + b"}",
        b'{"contents":' + b"[" * 3000 + b"]" * 3000 + b"}",
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": NaN}',
        b'{"description": "\\ud800"}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe",
        b'{"a": 1, "a": 2}',
        b"null",
        b'"text"',
        b"{}" * 2,
    ],
    ids=range(14),
)
def test_bodies_that_break_parsers(target: httpx.Client, kind: str, body: bytes) -> None:
    _send_body(target, kind, body)


_PARAMETERS = (
    "filter",
    "pageSize",
    "page_size",
    "pageToken",
    "$alt",
    "alt",
    "updateMask",
)
_LISTS = (
    "tuningJobs",
    "models",
    "endpoints",
    "metadataStores/default/contexts",
    "/_local/requests",
    "/_local/jobs",
)
_filters = st.lists(
    st.sampled_from((
        "labels.a",
        "state",
        "displayName",
        "=",
        "!=",
        ":",
        '"',
        "'",
        "\\",
        "(",
        ")",
        "*",
        "AND",
        "OR",
        "NOT",
        "-",
        " ",
        ".",
        "JOB_STATE_FAILED",
    ))
    | _text,
    max_size=8,
).map("".join)
_values = _filters | st.sampled_from([str(item) for item in _ODD[:9]]) | st.binary(max_size=20).map(quote)


@_FUZZ
@given(st.sampled_from(_LISTS), st.dictionaries(st.sampled_from(_PARAMETERS), _values, max_size=4))
def test_queries_of_any_kind(target: httpx.Client, path: str, query: dict[str, str]) -> None:
    _send(target, "GET", path, params=query)


@_FUZZ
@given(
    st.sampled_from(("{board}:batchRead", "{series}:read", "{run}/timeSeries", "{board}/experiments")),
    st.lists(st.just("{series}") | _values, max_size=3),
    st.dictionaries(st.sampled_from(("maxDataPoints", *_PARAMETERS)), _values, max_size=2),
)
def test_reads_of_metrics_of_any_kind(
    target: httpx.Client, measured: dict[str, str], path: str, series: list[str], query: dict[str, str]
) -> None:
    for stand_in, name in measured.items():
        path = path.replace(stand_in, name)
    names = [measured.get(name, name) for name in series]
    _send(target, "GET", f"/v1/{path}", params={**query, "timeSeries": names})


@pytest.mark.parametrize("path", ["{board}:batchRead?timeSeries={series}", "{series}:read", "{run}/timeSeries"])
def test_the_metrics_that_are_asked_for_are_there(target: httpx.Client, measured: dict[str, str], path: str) -> None:
    for stand_in, name in measured.items():
        path = path.replace(stand_in, name)
    assert _send(target, "GET", f"/v1/{path}") == 200


@_FUZZ
@given(
    st.sampled_from(("GET", "POST", "PATCH", "DELETE")),
    st.sampled_from(("v1", "v1beta1", "v2", "")),
    st.lists(
        st.sampled_from((
            "projects",
            "local-dev",
            "locations",
            "us-central1",
            "tuningJobs",
            "models",
            "endpoints",
            "1",
            "77@1",
        ))
        | st.sampled_from((":cancel", ":generateContent", "operations", "%2F", "%00", "..", "@", "@x", "tensorboards"))
        | st.text(min_size=1, max_size=12).map(lambda name: quote(name, safe="")),
        max_size=8,
    ),
)
def test_names_of_any_kind(target: httpx.Client, method: str, version: str, parts: list[str]) -> None:
    _plant(target)
    _send(target, method, "/" + "/".join([version, *parts]))


@_FUZZ
@given(
    st.sampled_from((
        "tuningJobs/{}",
        "tuningJobs/{}:cancel",
        "models/{}",
        "endpoints/{}",
        "models/{}:generateContent",
    )),
    st.sampled_from(("1", "77", "77@1", "77@", "@", "77@999999999999999999999", "77@default", "-1"))
    | _text.map(lambda name: quote(name, safe="")),
    st.sampled_from(("GET", "POST", "PATCH", "DELETE")),
)
def test_ids_of_any_kind(target: httpx.Client, path: str, name: str, method: str) -> None:
    _plant(target)
    _send(target, method, path.format(name), content=b"{}" if method in ("POST", "PATCH") else None)

"""Scripted failures of requests, as Google's own client sees them, and what is left of the request on the server."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from google import genai
from google.auth.transport.requests import Request
from google.genai import errors, types
from tests.local_cloud.services import LocalCloud, example, running_local_cloud, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODEL = "gemini-2.5-flash"
AT_ONCE = {"initial_delay": 0.01, "max_delay": 0.01, "jitter": 0.01}
LARGE = b"x" * 2**20
CREATE = {"method": "POST", "path": "/tuningJobs$"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """A local cloud of this module's own: a fault strikes whoever comes first."""
    with running_local_cloud(tmp_path_factory.mktemp("faults")) as cloud:
        yield cloud


@pytest.fixture
def cloud(running: LocalCloud) -> Iterator[LocalCloud]:
    yield running
    running.control("DELETE", "faults")
    running.control("PATCH", "settings", {"latency_seconds": 0})


@pytest.fixture(scope="module")
def client(running: LocalCloud) -> genai.Client:
    return running.genai()


@pytest.fixture(scope="module")
def uri(running: LocalCloud) -> str:
    return running.upload("faults/train.jsonl", [example("red", "paint")] * 4)


@pytest.fixture
def tune(client: genai.Client, uri: str) -> Callable[..., types.TuningJob]:
    """Creates a job with a label of its own."""

    def create(label: str, **http_options: Any) -> types.TuningJob:
        options = types.HttpOptions(**http_options) if http_options else None
        config = types.CreateTuningJobConfig(epoch_count=1, labels={"run": label}, http_options=options)
        dataset = types.TuningDataset(gcs_uri=uri)
        return client.tunings.tune(base_model=MODEL, training_dataset=dataset, config=config)

    return create


@pytest.fixture
def label() -> str:
    return uuid.uuid4().hex


def fail(cloud: LocalCloud, **fault: Any) -> int:
    return int(cloud.control("POST", "faults", fault)["id"])


def jobs(client: genai.Client, label: str) -> list[types.TuningJob]:
    return list(client.tunings.list(config={"filter": f'labels.run="{label}"'}))


def logged(cloud: LocalCloud, path: str) -> list[dict[str, Any]]:
    return list(cloud.control("GET", f"requests?path={path}"))


def ask(client: genai.Client) -> types.GenerateContentResponse:
    return client.models.generate_content(model=MODEL, contents="red")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (400, "INVALID_ARGUMENT"),
        (401, "UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED"),
        (404, "NOT_FOUND"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
        (502, "UNAVAILABLE"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
        (599, "UNKNOWN"),
    ],
)
def test_a_scripted_status_reaches_the_client_in_googles_shape(
    cloud: LocalCloud, client: genai.Client, code: int, status: str
) -> None:
    fail(cloud, status=code, message="as rehearsed")
    with pytest.raises(errors.ClientError if code < 500 else errors.ServerError) as caught:
        ask(client)
    assert (caught.value.code, caught.value.status, caught.value.message) == (code, status, "as rehearsed")
    assert ask(client).candidates


def test_a_client_with_retry_options_gets_through_429(cloud: LocalCloud, tune: Any, label: str) -> None:
    number = fail(cloud, status=429, retry_after=7, times=2, **CREATE)
    before = cloud.counters()["tuning_jobs_created"]
    job = tune(label, retry_options=types.HttpRetryOptions(attempts=4, **AT_ONCE))
    assert job.state == types.JobState.JOB_STATE_PENDING
    assert cloud.counters()["tuning_jobs_created"] == before + 1
    attempts = [entry for entry in logged(cloud, "/tuningJobs$") if label in entry["body"]]
    assert [(entry["status"], entry["fault"]) for entry in attempts] == [(429, number), (429, number), (200, None)]


def test_retry_after_is_a_header(cloud: LocalCloud) -> None:
    fail(cloud, status=429, retry_after=7)
    with cloud.http() as plain:
        answer = plain.get("/v1/anything")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert answer.json()["error"]["status"] == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"drop": True}, httpx.RemoteProtocolError),
        ({"truncate": True}, httpx.RemoteProtocolError),
        ({"invalid_json": True}, json.JSONDecodeError),
        ({"status": 503}, errors.ServerError),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_answer_may_be_lost_before_or_after_the_work(
    cloud: LocalCloud,
    client: genai.Client,
    tune: Any,
    label: str,
    fault: dict[str, Any],
    error: type[Exception],
    when: str,
) -> None:
    number = fail(cloud, **fault, **CREATE, when=when)
    before = cloud.counters()["tuning_jobs_created"]
    with pytest.raises(error):
        tune(label)
    made = when == "after"
    assert cloud.counters()["tuning_jobs_created"] == before + made
    assert len(jobs(client, label)) == made
    entry = next(entry for entry in reversed(logged(cloud, "/tuningJobs$")) if entry["method"] == "POST")
    status = {"drop": None, "status": 503}.get(next(iter(fault)), 200)
    assert (entry["status"], entry["fault"]) == (status, number)
    assert json.loads(entry["body"])["labels"] == {"run": label}  # what was asked is known, done or not


@pytest.mark.parametrize(
    ("fault", "made"),
    [
        ({"truncate": True}, True),
        ({"invalid_json": True}, True),
        ({"status": 503}, False),
        ({"drop": True}, False),
        ({"delay_seconds": 0.1}, True),
    ],
)
def test_only_what_spoils_an_answer_comes_after_the_work_unless_it_is_said(
    cloud: LocalCloud, tune: Any, client: genai.Client, label: str, fault: dict[str, Any], made: bool
) -> None:
    fail(cloud, **fault, **CREATE)
    with contextlib.suppress(httpx.RemoteProtocolError, json.JSONDecodeError, errors.ServerError):
        tune(label)
    assert len(jobs(client, label)) == made


def test_a_truncated_answer_is_the_real_one_as_far_as_it_goes(cloud: LocalCloud) -> None:
    path = f"/v1/{cloud.parent}/publishers/google/models?{uuid.uuid4()}"
    with cloud.http() as plain:
        whole = plain.get(path)
        fail(cloud, truncate=True, path=path.rpartition("?")[2])
        received = b""
        with (  # noqa: PT012 (what has come before the end counts)
            pytest.raises(httpx.RemoteProtocolError),
            plain.stream("GET", path) as answer,
        ):
            for name in ("Content-Type", "Content-Length"):
                assert answer.headers[name] == whole.headers[name]
            for piece in answer.iter_bytes():
                received += piece
    assert received == whole.content[: len(whole.content) // 2] != b""


def test_a_truncated_stream_of_one_event_delivers_it(cloud: LocalCloud) -> None:
    cloud.control("POST", "answers", {"text": "One."})
    fail(cloud, truncate=True, path=":streamGenerateContent")
    received = b""
    with cloud.http() as plain:
        url = f"/v1/{cloud.parent}/publishers/google/models/{MODEL}:streamGenerateContent?alt=sse"
        with (  # noqa: PT012 (what has come before the end counts)
            pytest.raises(httpx.RemoteProtocolError),
            plain.stream("POST", url, json={"contents": [{"parts": [{"text": "red"}]}]}) as answer,
        ):
            for piece in answer.iter_bytes():
                received += piece
    (event,) = received.strip().split(b"\r\n\r\n" if b"\r" in received else b"\n\n")
    document = json.loads(event.removeprefix(b"data: "))
    assert document["candidates"][0]["content"]["parts"][0]["text"] == "One."


def test_the_ledger_gives_away_a_client_that_pays_twice(cloud: LocalCloud, client: genai.Client, uri: str) -> None:
    """google-genai's asynchronous client repeats a request whose connection broke, whatever it was."""
    fail(cloud, drop=True, when="after", **CREATE)
    before = cloud.counters()["tuning_jobs_created"]
    dataset = types.TuningDataset(gcs_uri=uri)
    asyncio.run(cloud.genai().aio.tunings.tune(base_model=MODEL, training_dataset=dataset))
    assert cloud.counters()["tuning_jobs_created"] == before + 2
    assert [entry["status"] for entry in logged(cloud, "/tuningJobs$")[-2:]] == [None, 200]


def test_a_dropped_connection_is_found_behind_a_proxys_header(cloud: LocalCloud) -> None:
    fail(cloud, drop=True)
    with cloud.http() as plain, pytest.raises(httpx.RemoteProtocolError):
        plain.get("/v1/anything", headers={"X-Forwarded-For": "192.0.2.1"})


def test_only_the_connection_of_the_request_is_cut(cloud: LocalCloud) -> None:
    address = cloud.vertex_url.removeprefix("http://")
    others = [http.client.HTTPConnection(address, timeout=30) for _ in range(3)]
    for connection in others:
        connection.request("GET", "/_local/health")
        connection.getresponse().read()
        connection.auto_open = 0
    fail(cloud, drop=True)
    with cloud.http() as plain, pytest.raises(httpx.RemoteProtocolError):
        plain.get("/v1/anything")
    for connection in others:
        connection.request("GET", "/_local/health")
        assert connection.getresponse().status == 200
        connection.close()


@pytest.mark.parametrize("fault", ["drop", "truncate"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_is_scripted_is_no_error_of_the_server(cloud: LocalCloud, fault: str, when: str) -> None:
    log = Path(cloud.credentials_path).with_name("local_cloud.log")
    before = log.read_text().count(" ERROR ")
    fail(cloud, **{fault: True}, when=when)
    with cloud.http() as plain, pytest.raises(httpx.RemoteProtocolError):
        plain.get("/v1/anything")
    assert log.read_text().count(" ERROR ") == before


def test_a_truncated_stream_breaks_off_in_the_middle(cloud: LocalCloud, client: genai.Client) -> None:
    fail(cloud, truncate=True, when="after", path=":streamGenerateContent")
    with cloud.http() as plain:
        url = f"/v1/{cloud.parent}/publishers/google/models/{MODEL}:streamGenerateContent?alt=sse"
        body = {"contents": [{"parts": [{"text": "red"}]}], "generationConfig": {"candidateCount": 4}}
        received = b""
        with (  # noqa: PT012 (what has come before the end counts)
            pytest.raises(httpx.RemoteProtocolError),
            plain.stream("POST", url, json=body) as answer,
        ):
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            for piece in answer.iter_bytes():
                received += piece
    assert received.startswith(b'data: {"candidates"')
    fail(cloud, truncate=True, when="after")
    with pytest.raises(httpx.RemoteProtocolError):
        list(client.models.generate_content_stream(model=MODEL, contents="red"))


def test_skip_lets_the_first_requests_pass(cloud: LocalCloud, client: genai.Client) -> None:
    fail(cloud, status=500, path=":generateContent", skip=2)
    outcomes = []
    for _ in range(4):
        try:
            ask(client)
            outcomes.append(200)
        except errors.ServerError as error:
            outcomes.append(error.code)
    assert outcomes == [200, 200, 500, 200]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_delayed_answer_comes_late_and_is_whole(cloud: LocalCloud, client: genai.Client, when: str) -> None:
    fail(cloud, delay_seconds=0.5, when=when)
    began = time.monotonic()
    assert ask(client).candidates
    assert time.monotonic() - began >= 0.5
    assert logged(cloud, ":generateContent")[-1]["milliseconds"] >= 500


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_client_that_does_not_wait_has_its_job_all_the_same(
    cloud: LocalCloud, client: genai.Client, tune: Any, label: str, when: str
) -> None:
    fail(cloud, delay_seconds=2, when=when, **CREATE)
    with pytest.raises(httpx.ReadTimeout):
        tune(label, timeout=500)
    wait_until(lambda: len(jobs(client, label)) == 1, 30, "the job nobody waited for")


def test_latency_is_added_to_every_call(cloud: LocalCloud, client: genai.Client) -> None:
    cloud.control("PATCH", "settings", {"latency_seconds": 0.3})
    began = time.monotonic()
    ask(client)
    list(client.tunings.list(config={"page_size": 1000}))
    assert time.monotonic() - began >= 0.6


def test_only_calls_of_the_api_are_struck(cloud: LocalCloud) -> None:
    fail(cloud, status=503, times=None)
    credentials = cloud.credentials()
    credentials.refresh(Request())
    assert credentials.token
    assert cloud.control("GET", "health") == {"status": "ok"}
    answer = httpx.get(f"{cloud.vertex_url}/v1/anything", trust_env=False)
    assert answer.status_code == 503  # it comes first, even before the token is looked at


def test_the_token_endpoint_is_struck_by_name(cloud: LocalCloud) -> None:
    fail(cloud, status=503, path="^/token$")
    before = cloud.counters()["tokens_issued"]
    credentials = cloud.credentials()
    credentials.refresh(Request())  # google-auth tries again by itself
    assert cloud.counters()["tokens_issued"] == before + 1
    assert cloud.control("GET", "faults") == {"faults": []}


@pytest.mark.parametrize(
    "fault", [{"status": 503}, {"status": 503, "when": "after"}, {"invalid_json": True}, {"delay_seconds": 0.1}, None]
)
@pytest.mark.parametrize("method", ["POST", "HEAD", "GET"])
def test_a_kept_connection_stays_in_step(cloud: LocalCloud, method: str, fault: dict[str, Any] | None) -> None:
    """Answers that come before the request body was read must not shift the ones after them."""
    if fault:
        fail(cloud, **fault)
    connection = http.client.HTTPConnection(cloud.vertex_url.removeprefix("http://"), timeout=30)
    connection.connect()
    connection.auto_open = 0  # what goes wrong is not covered up by a second connection
    body = LARGE if method == "POST" else None
    connection.request(method, "/v1/first", body)  # without a token: refused with the body unread
    first = connection.getresponse()
    first.read()
    assert first.status == (503 if fault and "status" in fault else 200 if fault and "invalid_json" in fault else 401)
    connection.request("GET", "/_local/health")
    second = connection.getresponse()
    assert json.loads(second.read()) == {"status": "ok"}
    connection.close()


def test_a_fault_survives_a_restart(tmp_path: Path) -> None:
    with running_local_cloud(tmp_path) as cloud:
        fail(cloud, status=503, times=2)
        assert httpx.get(f"{cloud.vertex_url}/v1/a", trust_env=False).status_code == 503
    with running_local_cloud(tmp_path) as cloud:
        codes = [httpx.get(f"{cloud.vertex_url}/v1/a", trust_env=False).status_code for _ in range(2)]
    assert codes == [503, 401]

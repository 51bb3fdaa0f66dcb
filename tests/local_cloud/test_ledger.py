"""The request log and the counters: what a test can ask about everything that was sent."""

from __future__ import annotations

import gzip
import json
import sqlite3
import time
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.local_cloud.conftest import ENDLESS, TRAINING
from tests.local_cloud.services import LocalCloud, running_local_cloud, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS = 101_500


@pytest.fixture
def mark() -> str:
    """A path that no other request has."""
    return f"/v1/{uuid.uuid4().hex}"


def log(cloud: LocalCloud, **filters: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cloud.control("GET", f"requests?{httpx.QueryParams(filters)}")
    return found


def test_an_entry_says_everything_about_a_request(local_cloud: LocalCloud, vertex: httpx.Client, mark: str) -> None:
    before = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    vertex.post(f"{mark}?a=1&b=2", content='{"a": 1, "a": 2}')
    (entry,) = log(local_cloud, path=mark)
    assert entry.pop("id") > 0
    assert before <= entry.pop("time")
    assert entry.pop("milliseconds") > 0
    assert entry == {
        "method": "POST",
        "path": mark,
        "query": "a=1&b=2",
        "status": 404,
        "fault": None,
        "body": "",  # never read: there is nothing at this path
    }


def test_the_body_is_the_text_as_it_was_sent(local_cloud: LocalCloud, vertex: httpx.Client) -> None:
    url = f"/v1/{local_cloud.parent}/tuningJobs"
    mark = uuid.uuid4().hex
    twice = f'{{"description": "{mark}",  "description": "{mark}"}}'
    vertex.post(url, content=twice)
    vertex.post(url, content=gzip.compress(twice.encode()), headers={"Content-Encoding": "gzip"})
    vertex.post(url, content=f"{mark}\xff".encode("latin-1"))
    vertex.post(url, content=f"{mark}".encode() + b"x" * 200_000)
    bodies = [entry["body"] for entry in log(local_cloud, path="/tuningJobs$", method="post") if mark in entry["body"]]
    assert bodies[:3] == [twice, twice, f"{mark}\ufffd"]
    assert len(bodies[3]) == 100_000


def test_filters_narrow_the_log(local_cloud: LocalCloud, vertex: httpx.Client, mark: str) -> None:
    vertex.get(f"{mark}/tuningJobs?x=1")
    vertex.delete(f"{mark}/tuningJobs")
    vertex.get(f"/v1/{local_cloud.parent}/tuningJobs?{mark}")
    assert [entry["method"] for entry in log(local_cloud, path=mark)] == ["GET", "DELETE", "GET"]
    assert [entry["method"] for entry in log(local_cloud, path=f"{mark}/.*Jobs$")] == ["DELETE"]
    assert [entry["query"] for entry in log(local_cloud, path=f"{mark}/.*x=1$")] == ["x=1"]
    assert len(log(local_cloud, path=mark, method="get")) == 2
    assert [entry["status"] for entry in log(local_cloud, path=mark, status=200)] == [200]
    assert log(local_cloud, path=mark, status="null") == []
    ids = [entry["id"] for entry in log(local_cloud, path=mark)]
    assert ids == sorted(ids)
    assert [entry["id"] for entry in log(local_cloud, path=mark, after=ids[0])] == ids[1:]
    assert [entry["id"] for entry in log(local_cloud, path=mark, limit=2)] == ids[:2]


def test_a_request_without_an_answer_has_no_status(local_cloud: LocalCloud, vertex: httpx.Client, mark: str) -> None:
    fault = local_cloud.control("POST", "faults", {"path": mark, "drop": True})
    with pytest.raises(httpx.RemoteProtocolError):
        vertex.get(mark)
    assert [entry["fault"] for entry in log(local_cloud, path=mark, status="null")] == [fault["id"]]


@pytest.mark.parametrize(
    "query", ["path=[", "status=x", "after=x", "after=-1", "limit=-1", "after=99999999999999999999", "limit=1.5"]
)
def test_a_bad_filter_is_refused(local_cloud: LocalCloud, query: str) -> None:
    answer = httpx.get(f"{local_cloud.vertex_url}/_local/requests?{query}", trust_env=False)
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_keys_in_a_query_are_not_kept(local_cloud: LocalCloud, mark: str) -> None:
    httpx.get(f"{local_cloud.vertex_url}{mark}?access_token=secret-1&a=1&key=secret-2&monkey=3", trust_env=False)
    assert [entry["query"] for entry in log(local_cloud, path=mark)] == ["access_token=…&a=1&key=…&monkey=3"]


@pytest.fixture(scope="module")
def long_lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """A local cloud that has seen more requests than it keeps."""
    state = tmp_path_factory.mktemp("ledger")
    with running_local_cloud(state) as cloud:
        httpx.get(f"{cloud.vertex_url}/v1/first", trust_env=False)
    with sqlite3.connect(state / "vertex.sqlite") as db:
        entry = ("2026-01-01T00:00:00Z", "GET", "/v1/many", "", 200, 1.0, None, '{"a": 1}')
        rows = ((number, *entry) for number in range(2, ROWS + 1))
        db.executemany("INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    db.close()
    with running_local_cloud(state) as cloud:
        yield cloud


def test_a_full_log_is_cut_and_answers_soon(long_lived: LocalCloud) -> None:
    began = time.monotonic()
    with httpx.Client(base_url=long_lived.vertex_url, trust_env=False) as client:
        for _ in range(500):
            client.get("/v1/again")
    kept = log(long_lived)
    assert kept[-1]["id"] == ROWS + 500
    assert kept[0]["id"] == ROWS + 500 - 100_000 + 1
    assert len(kept) == 100_000
    assert len(log(long_lived, path="/again$")) == 500
    assert [entry["path"] for entry in log(long_lived, after=ROWS, limit=2)] == ["/v1/again"] * 2
    assert time.monotonic() - began < 60  # measured: 3 s


def test_clearing_forgets_requests_but_not_their_numbers(long_lived: LocalCloud) -> None:
    last = log(long_lived)[-1]["id"]
    assert long_lived.control("DELETE", "requests") == {}
    assert log(long_lived) == []
    httpx.get(f"{long_lived.vertex_url}/v1/after", trust_env=False)
    assert [entry["id"] for entry in log(long_lived, after=last)] == [last + 1]


def test_the_counters_tell_jobs_from_trainings(tmp_path: Path) -> None:
    """A restart trains a running job again, but does not make a second one."""
    with running_local_cloud(tmp_path, step_seconds=0.05) as cloud, cloud.http() as client:
        assert cloud.counters() == {"tuning_jobs_created": 0, "trainings_started": 0, "tokens_issued": 1}
        spec = {"trainingDatasetUri": cloud.upload("t.jsonl", TRAINING), "hyperParameters": {"epochCount": ENDLESS}}
        body = {"baseModel": "gemini-2.5-flash", "supervisedTuningSpec": spec}
        name = client.post(f"/v1/{cloud.parent}/tuningJobs", json=body).raise_for_status().json()["name"]
        wait_until(lambda: cloud.counters()["trainings_started"] == 1, 60, "the training to start")
    with running_local_cloud(tmp_path) as cloud, cloud.http() as client:
        wait_until(lambda: cloud.counters()["trainings_started"] == 2, 60, "the training to start again")
        client.post(f"/v1/{name}:cancel").raise_for_status()
        client.delete("/_local/requests")
        assert cloud.counters() == {"tuning_jobs_created": 1, "trainings_started": 2, "tokens_issued": 2}


def test_the_log_is_json_of_any_length(local_cloud: LocalCloud, vertex: httpx.Client, mark: str) -> None:
    for number in range(501):  # one more than is read at once
        vertex.get(f"{mark}/{number}")
    text = httpx.get(f"{local_cloud.vertex_url}/_local/requests?path={mark}/", trust_env=False).text
    assert [entry["path"] for entry in json.loads(text)] == [f"{mark}/{number}" for number in range(501)]

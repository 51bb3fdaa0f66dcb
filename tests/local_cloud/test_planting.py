"""Jobs that are planted, and everything else that is scripted before the server starts or while it runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from tests.local_cloud.services import LocalCloud, running_local_cloud, start_local_cloud, wait_for_job

if TYPE_CHECKING:
    from pathlib import Path

    from google import genai

SOMEONE = "projects/801452371447/locations/us-central1"
EXPERIMENT = f"{SOMEONE}/metadataStores/default/contexts/tuning-experiment-1"


def plant(cloud: LocalCloud, job_id: str, **fields: Any) -> dict[str, Any]:
    planted: dict[str, Any] = cloud.control("POST", "jobs", {"name": f"{SOMEONE}/tuningJobs/{job_id}", **fields})
    return planted


def test_a_planted_job_is_found_under_its_own_name(local_cloud: LocalCloud, genai_client: genai.Client) -> None:
    created = local_cloud.counters()["tuning_jobs_created"]
    plant(local_cloud, "4303478340632707072")
    job = genai_client.tunings.get(name=f"{SOMEONE}/tuningJobs/4303478340632707072")
    assert job.has_succeeded
    assert job.tuned_model
    assert job.tuned_model.endpoint
    assert genai_client.models.generate_content(model=job.tuned_model.endpoint, contents="Hello").candidates
    assert genai_client.models.get(model=str(job.tuned_model.model)).name
    assert local_cloud.counters()["tuning_jobs_created"] == created
    ledger = local_cloud.control("GET", "jobs")["jobs"]
    assert [row["planted"] for row in ledger if row["name"] == job.name] == [True]


def test_a_planted_job_without_a_model_gets_one_with_three_checkpoints(
    local_cloud: LocalCloud, vertex: httpx.Client, genai_client: genai.Client
) -> None:
    tuned = plant(local_cloud, "21")["tunedModel"]
    checkpoints = tuned["checkpoints"]
    assert [(item["checkpointId"], item["epoch"]) for item in checkpoints] == [("1", 1), ("2", 2), ("3", 3)]
    assert len({item["endpoint"] for item in checkpoints}) == 3
    assert tuned["endpoint"] == checkpoints[-1]["endpoint"]
    model = genai_client.models.get(model=tuned["model"])
    assert (model.default_checkpoint_id, len(model.checkpoints or [])) == ("3", 3)
    for item in checkpoints:
        assert genai_client.models.generate_content(model=item["endpoint"], contents="Hello").candidates


def test_a_planted_job_keeps_all_its_fields(local_cloud: LocalCloud, vertex: httpx.Client) -> None:
    fields = {
        "state": "JOB_STATE_FAILED",
        "error": {"code": 13, "message": "Failed to create endpoint."},
        "tuned_model": {"model": f"{SOMEONE}/models/77@3"},
        "labels": {"team": "x"},
        "createTime": "2024-11-02T10:00:00.000001Z",
        "endTime": "2024-11-02T10:32:00.000001Z",
        "supervisedTuningSpec": {
            "trainingDatasetUri": "gs://theirs/train.jsonl",
            "hyperParameters": {"epochCount": 10},
        },
        "gcsMetricsUri": "gs://theirs/metrics",
    }
    plant(local_cloud, "31", **fields)
    job = vertex.get(f"/v1/{SOMEONE}/tuningJobs/31").json()
    assert job["tunedModel"] == {"model": f"{SOMEONE}/models/77@3"}
    assert job["supervisedTuningSpec"]["hyperParameters"] == {"epochCount": "10"}
    assert {name: job[name] for name in ("state", "error", "labels", "createTime", "endTime", "gcsMetricsUri")} == {
        name: fields[name] for name in ("state", "error", "labels", "createTime", "endTime", "gcsMetricsUri")
    }


@pytest.mark.parametrize("state", ["QUEUED", "PENDING", "RUNNING", "PAUSED", "UPDATING", "HIBERNATING"])
def test_a_planted_job_stays_in_its_state_until_it_is_cancelled(
    local_cloud: LocalCloud, vertex: httpx.Client, state: str
) -> None:
    path = f"/v1/{SOMEONE}/tuningJobs/{plant(local_cloud, '41', state=f'JOB_STATE_{state}')['name'].rpartition('/')[2]}"
    assert vertex.get(path).json()["state"] == f"JOB_STATE_{state}"
    assert isinstance(vertex.get(path, params={"$alt": "json;enum-encoding=int"}).json()["state"], int)
    vertex.post(f"{path}:cancel").raise_for_status()
    assert wait_for_job(vertex, path.removeprefix("/v1/"))["state"] == "JOB_STATE_CANCELLED"


@pytest.mark.parametrize(
    ("job", "code", "message"),
    [
        ({}, 400, "A planted job needs a `name`"),
        ({"name": "tuningJobs/1"}, 400, "A planted job needs a `name`"),
        ({"name": f"{SOMEONE}/tuningJobs/5", "state": "DONE"}, 400, "Invalid `state` 'DONE'"),
        ({"name": f"{SOMEONE}/tuningJobs/5", "surprise": 1}, 400, 'Unknown name "surprise"'),
        ({"name": "projects/other/locations/us-central1/tuningJobs/taken"}, 409, "has the same id"),
        ({"name": f"{SOMEONE}/tuningJobs/6", "experiment": EXPERIMENT}, 409, "has the same experiment"),
        ([], 400, "Invalid value at 'tuning_job'"),
    ],
)
def test_what_is_no_job_is_not_planted(local_cloud: LocalCloud, job: Any, code: int, message: str) -> None:
    plant(local_cloud, "taken", experiment=EXPERIMENT)
    response = httpx.post(f"{local_cloud.vertex_url}/_local/jobs", json=job, trust_env=False)
    assert response.status_code == code
    assert message in response.json()["error"]["message"]


def test_a_created_job_is_not_planted_over(
    local_cloud: LocalCloud, vertex: httpx.Client, tuned_job: dict[str, Any]
) -> None:
    response = vertex.post("/_local/jobs", json={"name": tuned_job["name"]})
    assert (response.status_code, response.json()["error"]["status"]) == (409, "ALREADY_EXISTS")
    assert "was created here" in response.json()["error"]["message"]
    assert vertex.get(f"/v1/{tuned_job['name']}").json()["tunedModel"] == tuned_job["tunedModel"]


def test_a_job_planted_again_leaves_nothing_of_what_it_had_made(local_cloud: LocalCloud, vertex: httpx.Client) -> None:
    def statuses(tuned: dict[str, Any]) -> list[int]:
        return [vertex.get(f"/v1/{tuned[name]}").status_code for name in ("model", "endpoint")]

    before = plant(local_cloud, "61")["tunedModel"]
    after = plant(local_cloud, "61")["tunedModel"]
    assert (statuses(before), statuses(after)) == ([404, 404], [200, 200])
    plant(local_cloud, "61", state="JOB_STATE_FAILED")
    assert statuses(after) == [404, 404]


def test_a_version_planted_again_keeps_its_aliases(local_cloud: LocalCloud, vertex: httpx.Client) -> None:
    model = f"{SOMEONE}/models/71"
    for job_id, version in (("71", 1), ("72", 2)):
        plant(local_cloud, job_id, tunedModel={"model": f"{model}@{version}"})
    named = {"versionAliases": ["default", "best"]}
    vertex.post(f"/v1/{model}@2:mergeVersionAliases", json=named).raise_for_status()
    plant(local_cloud, "72", tunedModel={"model": f"{model}@2", "endpoint": f"{SOMEONE}/endpoints/72"})
    assert sorted(vertex.get(f"/v1/{model}@2").json()["versionAliases"]) == ["best", "default"]
    plant(local_cloud, "72", state="JOB_STATE_FAILED")
    assert vertex.get(f"/v1/{model}").json()["versionAliases"] == ["default"]  # there is always one


def test_ended_jobs_ignore_a_cancellation_when_that_is_set(local_cloud: LocalCloud, vertex: httpx.Client) -> None:
    name = plant(local_cloud, "51")["name"]
    assert vertex.post(f"/v1/{name}:cancel").json()["error"]["status"] == "FAILED_PRECONDITION"
    local_cloud.control("PATCH", "settings", {"cancel_ended": "ignore"})
    try:
        assert vertex.post(f"/v1/{name}:cancel").json() == {}
        assert vertex.get(f"/v1/{name}").json()["state"] == "JOB_STATE_SUCCEEDED"
    finally:
        local_cloud.control("PATCH", "settings", {"cancel_ended": "refuse"})


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("settings", {"pending_second": 1}, "pending_second: Extra inputs are not permitted"),
        ("settings", {"quota": 0}, "quota: Input should be greater than 0"),
        ("settings", [], "Expected a JSON object"),
        ("faults", {}, "give one of status, drop, truncate and invalid_json"),
        ("faults", {"status": 503, "drop": True}, "give one of status, drop, truncate and invalid_json"),
        ("faults", {"drop": True, "retry_after": 1}, "message and retry_after belong to a status"),
        ("faults", {"status": 200}, "status: Input should be greater than or equal to 400"),
        ("faults", {"path": "(", "drop": True}, "path: Value error, not a regular expression"),
        ("faults", {"status": 500, "times": 0}, "times: Input should be greater than 0"),
        ("scenarios", {"seconds": {"TUNNING": 1}}, "seconds.TUNNING"),
        ("scenarios", {"end": {"state": "JOB_STATE_SUCCEEDED"}}, "end.state"),
        ("scenarios", {"end": {"state": "JOB_STATE_PARTIALLY_SUCCEEDED", "stage": "TUNING"}}, "only be PARTIALLY"),
        ("scenarios", {"end": {"state": "JOB_STATE_FAILED", "step": 3}}, "step belongs to the stage TUNING"),
        ("scenarios", {"end": {"state": "JOB_STATE_EXPIRED", "message": "x"}}, "message needs a code"),
        ("answers", {"finish_reason": "SAFTEY"}, "finish_reason: Input should be 'STOP'"),
        ("answers", {"block_reason": "SPII"}, "block_reason: Input should be 'SAFETY'"),
        ("answers", {}, "give one of text, finish_reason and block_reason"),
        ("answers", {"block_reason": "SAFETY", "text": "x"}, "a blocked prompt has no answer"),
    ],
)
def test_a_wrong_script_is_refused_by_its_field(local_cloud: LocalCloud, path: str, body: Any, message: str) -> None:
    method = "PATCH" if path == "settings" else "POST"
    before = local_cloud.control("GET", path)
    response = httpx.request(method, f"{local_cloud.vertex_url}/_local/{path}", json=body, trust_env=False)
    assert (response.status_code, response.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert message in response.json()["error"]["message"]
    assert local_cloud.control("GET", path) == before


def test_rules_are_listed_and_dropped(local_cloud: LocalCloud) -> None:
    first = local_cloud.control("POST", "answers", {"prompt": "nobody asks this", "text": "x", "times": None})
    second = local_cloud.control("POST", "answers", {"prompt": "nor this", "finish_reason": "SAFETY", "skip": 2})
    assert local_cloud.control("GET", "answers") == {"answers": [first, second]}
    assert second == {
        "id": second["id"],
        "matched": 0,
        "prompt": "nor this",
        "finish_reason": "SAFETY",
        "skip": 2,
    }
    local_cloud.control("DELETE", f"answers/{first['id']}")
    gone = httpx.delete(f"{local_cloud.vertex_url}/_local/answers/{first['id']}", trust_env=False)
    assert (gone.status_code, gone.json()["error"]["status"]) == (404, "NOT_FOUND")
    assert local_cloud.control("GET", "answers") == {"answers": [second]}
    local_cloud.control("DELETE", "answers")
    assert local_cloud.control("GET", "answers") == {"answers": []}


SCRIPT = {
    "settings": {"pending_seconds": 0, "quota": 3},
    "jobs": [{"name": f"{SOMEONE}/tuningJobs/1", "state": "JOB_STATE_RUNNING"}],
    "scenarios": [{"times": None, "end": {"state": "JOB_STATE_FAILED", "stage": "PENDING"}}],
    "faults": [{"method": "GET", "path": "tuningJobs", "status": 503}],
    "answers": [{"prompt": "bomb", "block_reason": "PROHIBITED_CONTENT"}],
}


def test_a_script_is_played_from_the_start(tmp_path: Path) -> None:
    script = tmp_path / "rehearsal.yaml"
    script.write_text(yaml.safe_dump(SCRIPT))
    flags = {"script": script, "quota": 5, "project": "theirs", "project_number": "801452371447"}
    process, cloud = start_local_cloud(tmp_path / "state", **flags, pending_seconds=0.1)
    settings = cloud.control("GET", "settings")
    assert (settings["quota"], settings["pending_seconds"]) == (5, 0.1)  # flags take precedence
    with cloud.http() as client:
        path = f"/v1/{cloud.parent}/tuningJobs/1"
        assert client.get(path).status_code == 503
        assert client.get(path).json()["name"] == f"{SOMEONE}/tuningJobs/1"
        client.post(f"{path}:cancel").raise_for_status()
        wait_for_job(client, path.removeprefix("/v1/"))
    process.terminate()
    process.wait()
    with running_local_cloud(tmp_path / "state", **flags) as cloud, cloud.http() as client:
        assert client.get(path).status_code == 503  # the script's rules anew, once
        assert client.get(path).json()["state"] == "JOB_STATE_CANCELLED"  # its jobs as they have become
        assert [len(cloud.control("GET", kind)[kind]) for kind in ("faults", "scenarios", "answers")] == [0, 1, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("faults: [{status: 503, pth: x}]", "pth"),
        ("jobs: [{name: x}]", "A planted job needs a `name`"),
        ("- a", "Input should be a valid dictionary"),
        ("settings: {quota: none}", "quota"),
        ("{", "of no use"),
    ],
)
def test_a_script_of_no_use_is_refused_at_the_start(tmp_path: Path, content: str, message: str) -> None:
    script = tmp_path / "script.yaml"
    script.write_text(content)
    with pytest.raises(RuntimeError, match="did not start") as error:
        start_local_cloud(tmp_path / "state", script=script)
    assert message in str(error.value)
    assert "Traceback" not in str(error.value)


def test_the_control_api_refuses_what_is_no_json(local_cloud: LocalCloud) -> None:
    for body in (b"{", b"\xff", json.dumps({"a": float("nan")}).encode()):
        response = httpx.post(f"{local_cloud.vertex_url}/_local/faults", content=body, trust_env=False)
        assert response.status_code == 400
        assert response.json()["error"]["status"] == "INVALID_ARGUMENT"

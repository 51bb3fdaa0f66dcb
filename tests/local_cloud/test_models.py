"""The Model Registry: what tuning made can be read, found, changed and deleted."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from google.genai import errors, types
from tests.local_cloud.conftest import TRAINING
from tests.local_cloud.services import LocalCloud, running_local_cloud, wait_for_job

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from google import genai

QUESTION = TRAINING[0]["contents"][0]["parts"][0]["text"]
_ids = itertools.count(7_000)


def plant(cloud: LocalCloud, parent: str, **fields: Any) -> dict[str, Any]:
    """Plant a job that has succeeded, with a model and three checkpoints unless ``fields`` says otherwise."""
    number = next(_ids)
    checkpoints = [
        {"checkpointId": str(i), "epoch": i, "step": 10 * i, "endpoint": f"{parent}/endpoints/{number}{i}"}
        for i in (1, 2, 3)
    ]
    job = {
        "name": f"{parent}/tuningJobs/{number}",
        "tunedModelDisplayName": f"planted {number}",
        "tunedModel": {
            "model": f"{parent}/models/{number}@1",
            "endpoint": checkpoints[-1]["endpoint"],
            "checkpoints": checkpoints,
        },
        **fields,
    }
    planted: dict[str, Any] = cloud.control("POST", "jobs", job)
    return planted


@pytest.fixture
def parent() -> str:
    """A location where nobody else has planted anything."""
    return f"projects/{next(_ids)}00000/locations/us-central1"


def test_a_model_is_read_by_every_spelling_of_its_version(
    genai_client: genai.Client, tuned_job: dict[str, Any]
) -> None:
    name = tuned_job["tunedModel"]["model"]
    plain = name.removesuffix("@1")
    read = [genai_client.models.get(model=spelt) for spelt in (plain, name, f"{plain}@default")]
    assert [(model.name, model.version) for model in read] == [(plain, "1")] * 3
    model = read[0]
    assert (model.display_name, model.description) == ("shelves", "Shelves")
    assert model.tuned_model_info
    assert model.tuned_model_info.base_model == "gemini-2.5-flash"
    checkpoints = tuned_job["tunedModel"]["checkpoints"]
    assert [endpoint.name for endpoint in model.endpoints or []] == [item["endpoint"] for item in checkpoints]
    assert [item.checkpoint_id for item in model.checkpoints or []] == [item["checkpointId"] for item in checkpoints]
    assert model.default_checkpoint_id == checkpoints[-1]["checkpointId"]
    with pytest.raises(errors.ClientError, match="not found") as refusal:
        genai_client.models.get(model=f"{plain}@2")
    assert refusal.value.code == 404


def test_tuned_models_are_found_in_lists(
    local_cloud: LocalCloud, genai_client: genai.Client, tuned_job: dict[str, Any]
) -> None:
    name = tuned_job["tunedModel"]["model"].removesuffix("@1")
    listed = genai_client.models.list(config={"query_base": False, "page_size": 1})
    assert name in [model.name for model in listed]
    only = {"query_base": False, "filter": f'labels.run="{tuned_job["labels"]["run"]}"'}
    assert [model.name for model in genai_client.models.list(config=only)] == [name]  # type: ignore[arg-type]
    base = {"query_base": False, "filter": 'base_model_name="gemini-9"'}
    assert list(genai_client.models.list(config=base)) == []  # type: ignore[arg-type]


def test_lists_are_filtered_ordered_and_paged(local_cloud: LocalCloud, vertex: httpx.Client, parent: str) -> None:
    jobs = [plant(local_cloud, parent, tunedModelDisplayName=name) for name in ("b", "a", "c", "a")]
    names = [job["tunedModel"]["model"].removesuffix("@1") for job in jobs]

    def listed(**query: Any) -> list[str]:
        found, token = [], ""
        while True:
            page = vertex.get(f"/v1/{parent}/models", params={**query, "pageToken": token}).raise_for_status().json()
            found += [model["name"] for model in page.get("models", [])]
            assert len(page.get("models", [])) <= int(query.get("pageSize", 100))
            if "nextPageToken" not in page:
                return found
            token = page["nextPageToken"]

    assert listed() == names[::-1], "newest first"
    assert listed(pageSize=3) == listed(pageSize=1) == names[::-1]
    assert listed(filter='display_name="a"') == [names[3], names[1]]
    assert listed(filter='displayName!="a" AND labels.tune-type:*') == [names[2], names[0]]
    assert listed(filter=f"model={names[2].rpartition('/')[2]}") == [names[2]]
    assert listed(orderBy="display_name, create_time desc") == [names[3], names[1], names[0], names[2]]


@pytest.mark.parametrize(
    "query",
    [
        {"pageToken": "x"},
        {"pageToken": "c2VlbjotMQ=="},
        {"pageToken": "c2VlbjoxZTk5"},
        {"pageSize": "-1"},
        {"pageSize": "many"},
        {"filter": "colour=red"},
        {"filter": "(("},
        {"orderBy": "etag"},
        {"orderBy": ";"},
    ],
    ids=json.dumps,
)
@pytest.mark.parametrize("resource", ["models", "endpoints"])
def test_odd_lists_are_refused(
    local_cloud: LocalCloud, vertex: httpx.Client, resource: str, query: dict[str, str]
) -> None:
    response = vertex.get(f"/v1/{local_cloud.parent}/{resource}", params=query)
    assert (response.status_code, response.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_another_default_checkpoint_changes_the_endpoint_of_the_job(
    local_cloud: LocalCloud, genai_client: genai.Client, parent: str
) -> None:
    job = plant(local_cloud, parent)
    model = str(genai_client.models.get(model=job["tunedModel"]["model"]).name)
    updated = genai_client.models.update(model=model, config=types.UpdateModelConfig(default_checkpoint_id="2"))
    assert updated.default_checkpoint_id == "2"
    assert genai_client.models.get(model=model).default_checkpoint_id == "2"
    tuned = genai_client.tunings.get(name=job["name"]).tuned_model
    assert tuned
    assert tuned.endpoint == f"{job['tunedModel']['endpoint'][:-1]}2"
    with pytest.raises(errors.ClientError, match="was not deployed") as refusal:
        genai_client.models.update(model=model, config=types.UpdateModelConfig(default_checkpoint_id="9"))
    assert refusal.value.code == 400
    assert genai_client.models.get(model=model).default_checkpoint_id == "2"


def test_names_and_labels_can_be_changed(
    local_cloud: LocalCloud, vertex: httpx.Client, genai_client: genai.Client, parent: str
) -> None:
    job = plant(local_cloud, parent, description="old", labels={"team": "x"})
    name = job["tunedModel"]["model"].removesuffix("@1")
    before = vertex.get(f"/v1/{name}").json()
    updated = genai_client.models.update(
        model=name, config=types.UpdateModelConfig(display_name="new", description="newer")
    )
    assert (updated.display_name, updated.description) == ("new", "newer")
    body = {"name": name, "labels": {"colour": "red"}, "displayName": "not in the mask"}
    vertex.patch(f"/v1/{name}?updateMask=description,labels", json=body).raise_for_status()
    after = vertex.get(f"/v1beta1/{name}").json()
    assert after["displayName"] == "new"
    assert "description" not in after, "in the mask and not in the body: cleared"
    assert after["labels"]["colour"] == "red"
    assert "team" not in after["labels"]
    assert after["etag"] != before["etag"]
    assert after["updateTime"] > before["updateTime"]
    assert vertex.get(f"/v1/{job['name']}").json()["tunedModelDisplayName"] == job["tunedModelDisplayName"]


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("", {}),
        ("", {"artifactUri": "gs://x/y"}),
        ("?updateMask=createTime", {}),
        ("?updateMask=displayName", {"displayName": ""}),
        ("?updateMask=displayName", {"displayName": "x" * 129}),
        ("?updateMask=defaultCheckpointId", {}),
        ("?updateMask=labels", {"labels": {"a": 1}}),
        ("", {"colour": "red"}),
    ],
)
def test_odd_changes_are_refused(
    vertex: httpx.Client, tuned_job: dict[str, Any], query: str, body: dict[str, Any]
) -> None:
    name = tuned_job["tunedModel"]["model"]
    before = vertex.get(f"/v1/{name}").json()
    response = vertex.patch(f"/v1/{name}{query}", json=body)
    assert (response.status_code, response.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert vertex.get(f"/v1/{name}").json() == before


def test_versions_of_one_model(local_cloud: LocalCloud, vertex: httpx.Client, parent: str) -> None:
    first = plant(local_cloud, parent)
    name = first["tunedModel"]["model"].removesuffix("@1")
    endpoint = f"{parent}/endpoints/{next(_ids)}"
    second = plant(local_cloud, parent, tunedModel={"model": f"{name}@2", "endpoint": endpoint})
    versions = vertex.get(f"/v1/{name}:listVersions").json()["models"]
    assert [(item["name"], item["versionId"], item.get("versionAliases", [])) for item in versions] == [
        (f"{name}@2", "2", []),
        (f"{name}@1", "1", ["default"]),
    ]
    assert {item["displayName"] for item in versions} == {first["tunedModelDisplayName"]}
    assert vertex.get(f"/v1/{name}").json()["versionId"] == "1"
    assert [m["versionId"] for m in vertex.get(f"/v1/{parent}/models").json()["models"]] == ["1"]

    moved = vertex.post(f"/v1/{name}@2:mergeVersionAliases", json={"versionAliases": ["default", "best"]}).json()
    assert (moved["versionId"], moved["versionAliases"]) == ("2", ["best", "default"])
    assert vertex.get(f"/v1/{name}").json()["versionId"] == vertex.get(f"/v1/{name}@best").json()["versionId"] == "2"
    refused = vertex.post(f"/v1/{name}@2:mergeVersionAliases", json={"versionAliases": ["-default"]})
    assert refused.status_code == 400

    assert vertex.delete(f"/v1/{name}@2:deleteVersion").json()["error"]["status"] == "FAILED_PRECONDITION"
    assert vertex.delete(f"/v1/{name}@1").status_code == 400, "a version is not the model"
    assert vertex.delete(f"/v1/{name}@1:deleteVersion").json()["done"] is True
    assert vertex.get(f"/v1/{name}@1").status_code == 404
    assert vertex.get(f"/v1/{first['tunedModel']['endpoint']}").status_code == 404
    assert vertex.get(f"/v1/{endpoint}").status_code == 200
    assert [vertex.get(f"/v1/{job['name']}").status_code for job in (first, second)] == [200, 200]


@pytest.mark.parametrize("continued", [1, 3])
def test_a_model_is_deleted_with_all_its_versions_and_endpoints(
    local_cloud: LocalCloud, vertex: httpx.Client, genai_client: genai.Client, parent: str, continued: int
) -> None:
    first = plant(local_cloud, parent)
    name = first["tunedModel"]["model"].removesuffix("@1")
    endpoints = [item["endpoint"] for item in first["tunedModel"]["checkpoints"]]
    for version in range(2, 2 + continued):
        endpoints.append(f"{parent}/endpoints/{next(_ids)}")
        plant(local_cloud, parent, tunedModel={"model": f"{name}@{version}", "endpoint": endpoints[-1]})
    vertex.post(f"/v1/{name}@2:mergeVersionAliases", json={"versionAliases": ["default"]}).raise_for_status()
    genai_client.models.delete(model=name)
    gone = [f"/v1/{name}", *(f"/v1/{name}@{version}" for version in range(1, 2 + continued))]
    gone += [f"/v1/{endpoint}" for endpoint in endpoints]
    assert {path: vertex.get(path).status_code for path in gone} == dict.fromkeys(gone, 404)
    assert vertex.get(f"/v1/{parent}/models").json() == vertex.get(f"/v1/{parent}/endpoints").json() == {}


def test_a_deleted_version_leaves_its_number_to_nobody(
    local_cloud: LocalCloud, vertex: httpx.Client, job_body: Callable[..., dict[str, Any]]
) -> None:
    """Jobs still name it."""
    first = plant(local_cloud, local_cloud.parent)
    name = first["tunedModel"]["model"].removesuffix("@1")
    plant(local_cloud, local_cloud.parent, tunedModel={"model": f"{name}@2"})
    vertex.delete(f"/v1/{name}@2:deleteVersion").raise_for_status()
    assert [item["versionId"] for item in vertex.get(f"/v1/{name}:listVersions").json()["models"]] == ["1"]
    body = job_body({"preTunedModel": {"tunedModelName": name}, "labels": {"kind": "continued"}}, epochCount=1)
    del body["baseModel"]
    created = vertex.post(f"/v1/{local_cloud.parent}/tuningJobs", json=body).raise_for_status().json()
    made = wait_for_job(vertex, created["name"])["tunedModel"]
    assert made["model"].endswith(f"{name.rpartition('/')[2]}@3")
    model = vertex.get(f"/v1/{made['model']}").raise_for_status().json()
    assert (model["versionId"], model["displayName"]) == ("3", first["tunedModelDisplayName"])
    assert model["labels"]["kind"] == "continued"
    assert vertex.get(f"/v1/{name}").json()["versionId"] == "1", "the default stays with the first version"
    assert vertex.get(f"/v1/{made['endpoint']}").json()["deployedModels"][0]["modelVersionId"] == "3"


def test_checkpoints_are_listed(vertex: httpx.Client, tuned_job: dict[str, Any]) -> None:
    answer = vertex.get(f"/v1/{tuned_job['tunedModel']['model']}:listCheckpoints").json()
    expected = [
        {name: item[name] for name in ("checkpointId", "epoch", "step")}
        for item in tuned_job["tunedModel"]["checkpoints"]
    ]
    assert answer == {"checkpoints": expected}


def by_genai(cloud: LocalCloud, model: str) -> None:
    client = cloud.genai()
    client.models.delete(model=model)


def by_gapic(cloud: LocalCloud, model: str) -> None:
    from google.cloud import aiplatform_v1

    client = cloud.generated(aiplatform_v1.ModelServiceClient)
    operation = client.delete_model(name=model.partition("@")[0])
    operation.result(timeout=30)
    with cloud.http() as plain:
        again = plain.get(f"/v1/{operation.operation.name}").json()
    assert (again["name"], again["done"]) == (operation.operation.name, True)


def by_aiplatform(cloud: LocalCloud, model: str) -> None:
    from google.cloud import aiplatform

    aiplatform.init(**cloud.aiplatform_settings())
    aiplatform.Model(model).delete()


@pytest.mark.parametrize("delete", [by_genai, by_gapic, by_aiplatform])
def test_a_deleted_model_is_gone_with_its_endpoints_and_its_job_stays(
    local_cloud: LocalCloud, vertex: httpx.Client, delete: Callable[[LocalCloud, str], None]
) -> None:
    job = plant(local_cloud, local_cloud.parent)
    model, endpoint = job["tunedModel"]["model"], job["tunedModel"]["endpoint"]
    prompt = {"contents": [{"parts": [{"text": QUESTION}]}]}
    assert vertex.post(f"/v1/{endpoint}:generateContent", json=prompt).status_code == 200
    delete(local_cloud, model)
    assert vertex.get(f"/v1/{model}").status_code == 404
    assert vertex.get(f"/v1/{endpoint}").status_code == 404
    refusal = vertex.post(f"/v1/{endpoint}:generateContent", json=prompt)
    assert refusal.status_code == 404
    assert "not found" in refusal.json()["error"]["message"]
    assert vertex.delete(f"/v1/{model}").status_code == 404
    names = [item["name"] for item in vertex.get(f"/v1/{local_cloud.parent}/models?pageSize=1000").json()["models"]]
    assert model.partition("@")[0] not in names
    assert vertex.get(f"/v1/{job['name']}").json()["state"] == "JOB_STATE_SUCCEEDED"


def test_changes_survive_a_restart(tmp_path: Path) -> None:
    with running_local_cloud(tmp_path) as cloud, cloud.http() as client:
        kept, deleted = plant(cloud, cloud.parent), plant(cloud, cloud.parent)
        model = kept["tunedModel"]["model"]
        client.patch(f"/v1/{model}", json={"defaultCheckpointId": "1"}).raise_for_status()
        operation = client.delete(f"/v1/{deleted['tunedModel']['model']}").raise_for_status().json()["name"]
        before = client.get(f"/v1/{model}").json()
    with running_local_cloud(tmp_path) as cloud, cloud.http() as client:
        assert client.get(f"/v1/{model}").json() == before
        assert before["defaultCheckpointId"] == "1"
        assert client.get(f"/v1/{deleted['tunedModel']['model']}").status_code == 404
        assert client.get(f"/v1/{operation}").json()["done"] is True


def test_the_base_models_are_listed_without_the_retired(genai_client: genai.Client) -> None:
    names = [str(model.name) for model in genai_client.models.list()]
    known = "publishers/google/models/gemini-2.5-flash"
    assert known in names
    assert not [name for name in names if "gemini-1.5" in name]
    assert genai_client.models.get(model="gemini-2.5-flash").name == known
    with pytest.raises(errors.ClientError, match="404"):
        genai_client.models.get(model="gemini-1.5-flash-002")

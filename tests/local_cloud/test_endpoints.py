"""The endpoints that tuning made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.local_cloud.test_models import plant

if TYPE_CHECKING:
    import httpx
    from tests.local_cloud.services import LocalCloud


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_every_checkpoint_has_an_endpoint(local_cloud: LocalCloud, tuned_job: dict[str, Any], version: str) -> None:
    import importlib

    aiplatform = importlib.import_module(f"google.cloud.aiplatform_{version}")
    client = local_cloud.generated(aiplatform.EndpointServiceClient)
    wanted = f'labels.run="{tuned_job["labels"]["run"]}"'
    request = aiplatform.ListEndpointsRequest(parent=local_cloud.parent, filter=wanted, page_size=1)
    listed = list(client.list_endpoints(request=request))
    checkpoints = tuned_job["tunedModel"]["checkpoints"]
    assert [endpoint.name for endpoint in listed] == [item["endpoint"] for item in reversed(checkpoints)]
    for checkpoint in checkpoints:
        endpoint = client.get_endpoint(name=checkpoint["endpoint"])
        assert endpoint in listed
        assert endpoint.display_name == "shelves"
        (deployed,) = endpoint.deployed_models
        assert deployed.model == tuned_job["tunedModel"]["model"].partition("@")[0]
        assert (deployed.model_version_id, deployed.display_name) == ("1", "shelves")
        assert deployed.checkpoint_id == checkpoint["checkpointId"]
        assert deployed.create_time == endpoint.create_time
        assert dict(endpoint.traffic_split) == {deployed.id: 100}


@pytest.mark.filterwarnings("ignore")
def test_the_high_level_class_lists_and_reads_endpoints(local_cloud: LocalCloud, tuned_job: dict[str, Any]) -> None:
    from google.cloud import aiplatform

    aiplatform.init(**local_cloud.aiplatform_settings())
    found = aiplatform.Endpoint.list(filter='display_name="shelves"', order_by="create_time desc")
    name = tuned_job["tunedModel"]["endpoint"]
    assert name in [endpoint.resource_name for endpoint in found]
    endpoint = aiplatform.Endpoint(name)
    assert endpoint.display_name == "shelves"
    assert [model.model for model in endpoint.list_models()] == [tuned_job["tunedModel"]["model"].partition("@")[0]]


def test_a_gemini_3_endpoint_is_listed_where_it_serves(local_cloud: LocalCloud, vertex: httpx.Client) -> None:
    parent = "projects/630000000000/locations/us-central1"
    job = plant(local_cloud, parent, baseModel="gemini-3.5-flash", tunedModel=None)
    endpoint = job["tunedModel"]["endpoint"]
    assert endpoint.startswith("projects/630000000000/locations/us/endpoints/")
    listed = vertex.get("/v1/projects/630000000000/locations/us/endpoints").json()["endpoints"]
    checkpoints = job["tunedModel"]["checkpoints"]
    assert {item["name"] for item in listed} == {item["endpoint"] for item in checkpoints} >= {endpoint}
    assert vertex.get(f"/v1/{parent}/endpoints").json() == {}
    (deployed,) = vertex.get(f"/v1/{endpoint}").json()["deployedModels"]
    assert deployed["model"].startswith(f"{parent}/models/")


def test_an_unknown_endpoint(vertex: httpx.Client, local_cloud: LocalCloud) -> None:
    response = vertex.get(f"/v1/{local_cloud.parent}/endpoints/1")
    assert response.status_code == 404
    assert response.json()["error"]["status"] == "NOT_FOUND"


@pytest.mark.parametrize("method", ["POST", "DELETE", "PATCH"])
def test_endpoints_cannot_be_changed(vertex: httpx.Client, tuned_job: dict[str, Any], method: str) -> None:
    endpoint = tuned_job["tunedModel"]["endpoint"]
    response = vertex.request(method, f"/v1/{endpoint}", json={})
    assert response.status_code == 405
    assert response.json()["error"]["message"]
    assert vertex.get(f"/v1/{endpoint}").status_code == 200

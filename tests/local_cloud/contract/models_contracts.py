"""What both clients expect of the models and endpoints that tuning made."""

from __future__ import annotations

from google.genai import types
from tests.local_cloud.contract.service import Genai, Service, new_id, planted


def genai_models(service: Service, client: Genai) -> None:
    """The tuned model with its checkpoints, alone and in the list."""
    tuned = service.tuned["tunedModel"]
    model = client.call("models.get", model=tuned["model"])
    assert model.name.partition("@")[0] == tuned["model"].partition("@")[0]
    assert model.display_name == service.tuned["tunedModelDisplayName"]
    assert model.default_checkpoint_id == "2"
    assert [(item.checkpoint_id, item.epoch, item.step) for item in model.checkpoints] == [
        (item["checkpointId"], int(item["epoch"]), int(item["step"])) for item in tuned["checkpoints"]
    ]
    assert {item.name for item in model.endpoints} == {item["endpoint"] for item in tuned["checkpoints"]}
    mine = f'labels.run="{service.tuned["labels"]["run"]}"'
    listed = [item for page in client.pages("models.list", query_base=False, page_size=1, filter=mine) for item in page]
    assert [item.name for item in listed] == [tuned["model"].partition("@")[0]]


def genai_default_checkpoint(service: Service, client: Genai) -> None:
    """The default checkpoint can be changed, as in the samples of "Tuning checkpoints"."""
    parent, number = service.cloud.parent, new_id()
    checkpoints = [
        {"checkpointId": n, "epoch": n, "step": n, "endpoint": f"{parent}/endpoints/{number}{n}"} for n in "12"
    ]
    model = f"{parent}/models/{number}@1"
    planted(service, tunedModel={"model": model, "endpoint": checkpoints[-1]["endpoint"], "checkpoints": checkpoints})
    assert client.call("models.get", model=model).default_checkpoint_id == "2"
    for checkpoint in ("1", "2"):
        config = types.UpdateModelConfig(default_checkpoint_id=checkpoint)
        updated = client.call("models.update", model=model, config=config)
        assert updated.default_checkpoint_id == checkpoint
        assert client.call("models.get", model=model).default_checkpoint_id == checkpoint


def gapic_models(service: Service, version: str) -> None:
    """Models and endpoints through their own clients: get, list, delete."""
    tuned = service.tuned["tunedModel"]
    models = service.gapic_client(version, "ModelServiceClient")
    name = tuned["model"].partition("@")[0]
    model = models.get_model(name=tuned["model"])
    assert model.name.partition("@")[0] == name
    assert model.version_id == "1"
    assert "default" in model.version_aliases
    assert [item.name for item in models.list_models(parent=service.cloud.parent)].count(name) == 1
    endpoints = service.gapic_client(version, "EndpointServiceClient")
    endpoint = endpoints.get_endpoint(name=tuned["endpoint"])
    assert endpoint.name == tuned["endpoint"]
    assert endpoint.deployed_models[0].model.partition("@")[0] == name
    listed = [item.name for item in endpoints.list_endpoints(parent=service.cloud.parent)]
    assert {item["endpoint"] for item in tuned["checkpoints"]} <= set(listed)


def gapic_deleted_model(service: Service, version: str) -> None:
    """A model can be deleted, by an operation that is done; then it is gone."""
    from google.api_core import exceptions

    job = planted(service)
    models = service.gapic_client(version, "ModelServiceClient")
    name = job["tunedModel"]["model"].partition("@")[0]
    models.delete_model(name=name).result(timeout=30)
    try:
        models.get_model(name=name)
    except exceptions.NotFound:
        return
    raise AssertionError(f"{name} is still there")

"""Clients of the local cloud, and the small datasets the tests tune on."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from tests.local_cloud.services import LocalCloud, example, wait_for_job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx
    from google import genai

COLOURS = ("red", "green", "blue", "black", "white", "brown", "grey", "pink")
TRAINING = [example(f"Which shelf holds the {c} paint?", f"The {c} paint stands on shelf {c}-1.") for c in COLOURS]
VALIDATION = TRAINING[:2]
EPOCHS_BY_HEART = 60
ENDLESS = 10_000
"""Epochs: the most there can be."""


@pytest.fixture(scope="session")
def genai_client(local_cloud: LocalCloud) -> genai.Client:
    return local_cloud.genai()


@pytest.fixture(scope="session")
def vertex(local_cloud: LocalCloud) -> Iterator[httpx.Client]:
    with local_cloud.http() as client:
        yield client


@pytest.fixture(scope="session")
def training_uri(local_cloud: LocalCloud) -> str:
    return local_cloud.upload("shelves/train.jsonl", TRAINING)


@pytest.fixture(scope="session")
def validation_uri(local_cloud: LocalCloud) -> str:
    return local_cloud.upload("shelves/validation.jsonl", VALIDATION)


@pytest.fixture(scope="session")
def job_body(training_uri: str, validation_uri: str) -> Callable[..., dict[str, Any]]:
    """Builds the body of a create call; keyword arguments are hyperparameters, ``fields`` replaces job fields."""

    def build(fields: dict[str, Any] | None = None, **hyper_parameters: Any) -> dict[str, Any]:
        spec = {
            "trainingDatasetUri": training_uri,
            "validationDatasetUri": validation_uri,
            "hyperParameters": {"epochCount": 2, **hyper_parameters},
        }
        return {"baseModel": "gemini-2.5-flash", "supervisedTuningSpec": spec, **(fields or {})}

    return build


@pytest.fixture
def endless(local_cloud: LocalCloud) -> dict[str, Any]:
    """Fields of a job that trains for longer than any test waits, if it has ``ENDLESS`` epochs."""
    labels = {"endless": uuid.uuid4().hex}
    local_cloud.control("POST", "scenarios", {"labels": labels, "step_seconds": 0.05})
    return {"labels": labels}


@pytest.fixture(scope="session")
def tuned_job(local_cloud: LocalCloud, vertex: httpx.Client, job_body: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """A job that has ended well: so many epochs that the shelves are known by heart, labelled, described."""
    fields = {"labels": {"run": uuid.uuid4().hex}, "description": "Shelves", "tunedModelDisplayName": "shelves"}
    body = job_body(fields, epochCount=EPOCHS_BY_HEART)
    created = vertex.post(f"/v1/{local_cloud.parent}/tuningJobs", json=body).raise_for_status().json()
    job = wait_for_job(vertex, created["name"])
    assert job["state"] == "JOB_STATE_SUCCEEDED", job
    return job

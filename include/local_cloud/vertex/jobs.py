"""Tuning jobs as documents: what a create call may ask for, and what names a job gives to the things it makes."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

from local_cloud.vertex import dataset
from local_cloud.vertex.errors import ApiError, invalid_argument
from local_cloud.vertex.names import new_id, now
from local_cloud.vertex.schema import ADAPTER_SIZES, NOT_IMITATED

if TYPE_CHECKING:
    from local_cloud.vertex.catalogue import Catalogue
    from local_cloud.vertex.store import Job

_INPUT_FIELDS = (
    "baseModel",
    "supervisedTuningSpec",
    "tunedModelDisplayName",
    "description",
    "labels",
    "encryptionSpec",
    "serviceAccount",
)
_LABEL_KEY = re.compile(r"[\w-]{1,64}")
_LABEL_VALUE = re.compile(r"[\w-]{0,64}")
_DISPLAY_NAME_LENGTH = 128
_LABELS = 64


def new_document(request: dict[str, Any], location: str, catalogue: Catalogue) -> dict[str, Any]:
    """Return the canonical TuningJob that a create request begins, PENDING and without a name.

    Output-only fields of the request are ignored, as everywhere in Google's APIs. The adapter size and learning-rate
    multiplier of a request that leaves them open are filled in here, the epoch count once the data has been read.

    Raises:
        ApiError: the request is refused; see ``Catalogue.for_tuning`` and the "Tuning API" page.
    """
    for name in NOT_IMITATED:
        if name in request:
            raise ApiError(501, f"The local Vertex AI does not imitate `{name}`; it tunes with `supervisedTuningSpec`.")
    document = {name: request[name] for name in _INPUT_FIELDS if name in request}
    if not document.get("baseModel"):
        raise invalid_argument("`base_model` is required.")
    spec = document.get("supervisedTuningSpec")
    if spec is None:
        raise invalid_argument("`supervised_tuning_spec` is required.")
    hyper = spec.get("hyperParameters", {})
    _check_texts(document)
    _check_hyper_parameters(hyper)
    size = hyper.get("adapterSize")
    asked = None if size == "ADAPTER_SIZE_UNSPECIFIED" else size
    base = catalogue.for_tuning(document["baseModel"], location, asked)
    dataset.check_uri("training_dataset_uri", spec.get("trainingDatasetUri", ""))
    if spec.get("validationDatasetUri"):
        dataset.check_uri("validation_dataset_uri", spec["validationDatasetUri"])
    chosen = {
        **hyper,
        "adapterSize": asked or _size_name(base.default_adapter_size),
        "learningRateMultiplier": hyper.get("learningRateMultiplier") or 1.0,
    }
    created = now()
    return {
        "tunedModelDisplayName": f"{base.name}-{uuid.uuid4()}",
        **document,
        "supervisedTuningSpec": {**spec, "hyperParameters": chosen},
        "state": "JOB_STATE_PENDING",
        "createTime": created,
        "updateTime": created,
    }


def order_of(document: dict[str, Any]) -> dict[str, Any]:
    """Return the training order (``trainer.Order``) of a job's document."""
    spec = document["supervisedTuningSpec"]
    hyper = spec["hyperParameters"]
    return {
        "epochs": hyper.get("epochCount") or None,
        "adapter_size": ADAPTER_SIZES[hyper["adapterSize"]],
        "learning_rate_multiplier": hyper["learningRateMultiplier"],
        "last_checkpoint_only": spec.get("exportLastCheckpointOnly", False),
    }


def experiment_of(job: Job) -> str:
    """Return the name of the experiment (a metadata context) that a job's metrics hang from."""
    timestamp = re.sub(r"\D", "", job.document["createTime"])[:20]
    return f"{job.parent}/metadataStores/default/contexts/tuning-experiment-{timestamp}"


def tuned_model(
    job: Job, checkpoints: list[dict[str, Any]], catalogue: Catalogue
) -> tuple[dict[str, Any], dict[str, str]]:
    """Name what a finished training made.

    Args:
        job: the job.
        checkpoints: ``{"id", "epoch", "step"}`` of each checkpoint in order of their epochs.
        catalogue: tells where the model is served.

    Returns:
        the canonical ``tunedModel``, and each endpoint's checkpoint id. The model's endpoint is that of the last
        checkpoint; a job that exports only this one has no list of checkpoints.
    """
    base = catalogue.get(job.document["baseModel"])
    location = base.serving_location(job.location) if base else job.location
    project = job.parent.split("/")[1]
    names = [f"projects/{project}/locations/{location}/endpoints/{new_id()}" for _ in checkpoints]
    result: dict[str, Any] = {"model": f"{job.parent}/models/{new_id()}@1", "endpoint": names[-1]}
    if not job.document["supervisedTuningSpec"].get("exportLastCheckpointOnly"):
        result["checkpoints"] = [
            {"checkpointId": item["id"], "epoch": item["epoch"], "step": item["step"], "endpoint": name}
            for item, name in zip(checkpoints, names, strict=True)
        ]
    return result, {name: item["id"] for item, name in zip(checkpoints, names, strict=True)}


def _size_name(size: int) -> str:
    return next(name for name, value in ADAPTER_SIZES.items() if value == size)


def _check_hyper_parameters(hyper: dict[str, Any]) -> None:
    if hyper.get("epochCount", 0) < 0:
        raise invalid_argument("`epoch_count` must not be negative.")
    if hyper.get("learningRateMultiplier", 0) < 0:
        raise invalid_argument("`learning_rate_multiplier` must not be negative.")
    for name in ("learningRate", "batchSize"):
        if hyper.get(name):
            raise invalid_argument(f"`{name}` is not supported for this base model.")


def _check_texts(document: dict[str, Any]) -> None:
    if len(document.get("tunedModelDisplayName", "")) > _DISPLAY_NAME_LENGTH:
        raise invalid_argument(f"`tuned_model_display_name` must not be longer than {_DISPLAY_NAME_LENGTH} characters.")
    labels = document.get("labels", {})
    if len(labels) > _LABELS:
        raise invalid_argument(f"A resource cannot have more than {_LABELS} labels.")
    for key, value in labels.items():
        lower = key == key.lower() and value == value.lower()
        if not (lower and _LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(value)):
            raise invalid_argument(
                f"Invalid label {key}={value}: keys and values are at most 64 lower-case letters, digits, _ or -."
            )

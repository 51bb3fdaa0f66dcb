"""What a create call may ask for, and the tuning job that begins with it."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_cloud.vertex.errors import ApiError, failed_precondition, invalid_argument, not_found
from local_cloud.vertex.jobs import dataset
from local_cloud.vertex.names import DISPLAY_NAME_LENGTH, location_name, now
from local_cloud.vertex.training.files import weights_file
from local_cloud.vertex.training.order import Order
from local_cloud.vertex.wire.tuning import ADAPTER_SIZES, NOT_IMITATED

if TYPE_CHECKING:
    from pathlib import Path

    from local_cloud.vertex.catalogue import BaseModel, Catalogue
    from local_cloud.vertex.jobs.registry import Registry, Version
    from local_cloud.vertex.jobs.store import Job, Store
    from local_cloud.vertex.settings import Settings
    from local_cloud.vertex.training.rows import Method

SPECS: dict[str, Method] = {"supervisedTuningSpec": "supervised", "preferenceOptimizationSpec": "preference"}
"""The tuning specs that are imitated, and the learner's method for each."""

_PLAIN_FIELDS = ("tunedModelDisplayName", "description", "labels", "encryptionSpec", "serviceAccount")
_LABEL_KEY = re.compile(r"[\w-]{1,64}")
_LABEL_VALUE = re.compile(r"[\w-]{0,64}")
_LABELS = 64
_EPOCHS = 10_000
"""Far more than anyone means: a training that never ends would hold its place for ever."""
_TUNED_MODEL = re.compile(r"projects/([^/]+)/locations/([^/]+)/models/([^/@]+)(?:@([^/@]+))?")


def spec_of(document: dict[str, Any]) -> str | None:
    """Return the name of the field that holds a job's tuning spec; a planted job may have none."""
    return next((name for name in SPECS if name in document), None)


def base_model_of(document: dict[str, Any]) -> str:
    """Return the base model of a job, also when it continues from a tuned model; empty when a planted job has none."""
    return str(document.get("baseModel") or document.get("preTunedModel", {}).get("baseModel") or "")


@dataclass(frozen=True)
class Draft:
    """What a create request comes to.

    Attributes:
        document: the canonical TuningJob, without a name.
        order: what its training process is asked for.
    """

    document: dict[str, Any]
    order: Order


@dataclass(frozen=True)
class _Source:
    """What is tuned.

    Attributes:
        fields: of the job: ``baseModel``, or ``preTunedModel`` with all that the request left open.
        base: the base model, also of a tuned model.
        adapter_size: that a tuned model has.
        weights: file of weights to go on from; a planted model has none, its base model's are used.
    """

    fields: dict[str, Any]
    base: BaseModel
    adapter_size: str | None = None
    weights: Path | None = None


class JobRequests:
    """Judges create requests."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        catalogue: Catalogue,
        settings: Settings,
    ) -> None:
        self._store = store
        self._registry = registry
        self._catalogue = catalogue
        self._settings = settings

    def draft(self, request: dict[str, Any], parent: str) -> Draft:
        """Return the job that a request begins.

        Output-only fields of the request are ignored, as everywhere in Google's APIs. The adapter size and
        learning-rate multiplier of a request that leaves them open are filled in here, the epoch count once the data
        has been read.

        Raises:
            ApiError: the request is refused; see ``Catalogue.for_tuning`` and the "Tuning API" page. 501 for what
                Vertex AI does and this server doesn't.
        """
        name = _spec_name(request)
        spec = request[name]
        hyper = spec.get("hyperParameters", {})
        _check_texts(request)
        _check_hyper_parameters(spec)
        source = self._source(request, parent)
        if request.get("encryptionSpec", {}).get("kmsKeyName") and not source.base.cmek:
            raise invalid_argument(f"`encryption_spec` (CMEK) is not supported for base model {source.base.name}.")
        chosen = {
            **hyper,
            "adapterSize": _adapter_size(source, hyper.get("adapterSize")),
            "learningRateMultiplier": hyper.get("learningRateMultiplier") or 1.0,
        }
        _check_datasets(spec)
        created = now()
        document = {
            "tunedModelDisplayName": f"{source.base.name}-{uuid.uuid4()}",
            **source.fields,
            **{field: request[field] for field in _PLAIN_FIELDS if field in request},
            name: {**spec, "hyperParameters": chosen},
            "state": "JOB_STATE_PENDING",
            "createTime": created,
            "updateTime": created,
        }
        order = Order(
            method=SPECS[name],
            epochs=chosen.get("epochCount") or None,
            adapter_size=ADAPTER_SIZES[chosen["adapterSize"]],
            learning_rate_multiplier=chosen["learningRateMultiplier"],
            beta=chosen.get("beta") or None,
            last_checkpoint_only=spec.get("exportLastCheckpointOnly", False),
            tokens_per_example=source.base.tokens_per_example,
            images_per_example=source.base.images_per_example,
            dropped_share=source.base.dropped_share,
            start_from=str(source.weights) if source.weights else None,
        )
        return Draft(document, order)

    def _source(self, request: dict[str, Any], parent: str) -> _Source:
        base, tuned = request.get("baseModel"), request.get("preTunedModel")
        if base and tuned:
            raise invalid_argument("Only one of `base_model` and `pre_tuned_model` can be set.")
        if base:
            return _Source({"baseModel": base}, self._base(base, parent))
        if not tuned:
            raise invalid_argument("`base_model` is required, or `pre_tuned_model`.")
        made_by, checkpoint = self._tuned_model(tuned, parent)
        if made_by.document.get("encryptionSpec") != request.get("encryptionSpec"):
            raise invalid_argument("Continuous tuning needs the `encryption_spec` that the tuned model has.")
        first = self._base(base_model_of(made_by.document), parent)
        spec = made_by.document.get(spec_of(made_by.document) or "", {})
        weights = weights_file(self._settings.job_directory(made_by.id), checkpoint)
        return _Source(
            {
                "preTunedModel": {**tuned, "checkpointId": checkpoint, "baseModel": first.name},
                "tunedModelDisplayName": made_by.document["tunedModelDisplayName"],
            },
            first,
            spec.get("hyperParameters", {}).get("adapterSize", _size_name(first.default_adapter_size)),
            weights if weights.exists() or not made_by.planted else None,
        )

    def _base(self, name: str, parent: str) -> BaseModel:
        location = parent.rsplit("/", 1)[1]
        return self._catalogue.for_tuning(name, location, retired_too=self._settings.behaviour.tune_retired)

    def _tuned_model(self, tuned: dict[str, Any], parent: str) -> tuple[Job, str]:
        """Return the job that made a tuned model, and the id of the checkpoint to continue from."""
        name = tuned.get("tunedModelName", "")
        match = _TUNED_MODEL.fullmatch(name)
        if match is None:
            raise invalid_argument(f"Invalid `tuned_model_name`: {name!r}; expected projects/*/locations/*/models/*.")
        project, location, model, version = match.groups()
        found = self._registry.model(f"{location_name(project, location)}/models/{model}", version)
        job = self._store.job(found.job_id) if found else None
        if found is None or job is None or location != parent.rsplit("/", 1)[1]:
            raise not_found(f"Model {name} not found.")
        return job, self._checkpoint(name, found, tuned.get("checkpointId"))

    def _checkpoint(self, name: str, version: Version, asked: str | None) -> str:
        known = [item.checkpoint for item in self._registry.endpoints_of(version)]
        if not known:
            raise failed_precondition(f"Model {name} has no deployed checkpoint that tuning could continue from.")
        checkpoint = asked or version.checkpoint
        if checkpoint is None or checkpoint not in known:
            raise invalid_argument(f"Checkpoint {checkpoint} of model {name} was not found; it has {', '.join(known)}.")
        return checkpoint


def _spec_name(request: dict[str, Any]) -> str:
    """Return the name of the one tuning spec in a request."""
    for name in NOT_IMITATED:
        if name in request:
            imitated = " and ".join(f"`{spec}`" for spec in SPECS)
            raise ApiError(501, f"The local Vertex AI does not imitate `{name}`; it tunes with {imitated}.")
    specs = [name for name in SPECS if name in request]
    if not specs:
        raise invalid_argument("`supervised_tuning_spec` is required.")
    if len(specs) > 1:
        raise invalid_argument("Only one tuning spec can be set.")
    return specs[0]


def _adapter_size(source: _Source, asked: str | None) -> str:
    """Return the adapter size that a job gets."""
    asked = None if asked == "ADAPTER_SIZE_UNSPECIFIED" else asked
    supported = source.base.adapter_sizes
    if asked and supported and ADAPTER_SIZES[asked] not in supported:
        raise invalid_argument("The adapter size is not supported for this base model.")
    present = source.adapter_size
    if asked and present and asked != present:
        raise ApiError(
            501,
            f"The local Vertex AI continues tuning with the adapter size the model has, {present}, "
            f"and cannot change it to {asked}.",
        )
    return present or asked or _size_name(source.base.default_adapter_size)


def _size_name(size: int) -> str:
    return next(name for name, value in ADAPTER_SIZES.items() if value == size)


def _check_hyper_parameters(spec: dict[str, Any]) -> None:
    hyper = spec.get("hyperParameters", {})
    for name, proto_name in {
        "epochCount": "epoch_count",
        "learningRateMultiplier": "learning_rate_multiplier",
        "beta": "beta",
    }.items():
        if hyper.get(name, 0) < 0:
            raise invalid_argument(f"`{proto_name}` must not be negative.")
    if hyper.get("epochCount", 0) > _EPOCHS:
        raise ApiError(501, f"The local Vertex AI trains at most {_EPOCHS:,} epochs.")
    for name in ("learningRate", "batchSize"):
        if hyper.get(name):
            raise invalid_argument(f"`{name}` is not supported for this base model.")
    if spec.get("tuningMode") == "TUNING_MODE_FULL":
        raise invalid_argument("Tuning mode TUNING_MODE_FULL is not supported for this base model.")


def _check_datasets(spec: dict[str, Any]) -> None:
    dataset.check_uri("training_dataset_uri", spec.get("trainingDatasetUri", ""))
    if spec.get("validationDatasetUri"):
        dataset.check_uri("validation_dataset_uri", spec["validationDatasetUri"])


def _check_texts(document: dict[str, Any]) -> None:
    if len(document.get("tunedModelDisplayName", "")) > DISPLAY_NAME_LENGTH:
        raise invalid_argument(f"`tuned_model_display_name` must not be longer than {DISPLAY_NAME_LENGTH} characters.")
    labels = document.get("labels", {})
    if len(labels) > _LABELS:
        raise invalid_argument(f"A resource cannot have more than {_LABELS} labels.")
    for key, value in labels.items():
        lower = key == key.lower() and value == value.lower()
        if not (lower and _LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(value)):
            raise invalid_argument(
                f"Invalid label {key}={value}: keys and values are at most 64 lower-case letters, digits, _ or -."
            )

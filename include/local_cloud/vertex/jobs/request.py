"""What a create call may ask for, and the tuning job that begins with it."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

from local_cloud.vertex.api.errors import ApiError, invalid_argument, not_found
from local_cloud.vertex.catalogue import DEFAULT_ADAPTER_SIZE
from local_cloud.vertex.names import location_name, now
from local_cloud.vertex.training import dataset
from local_cloud.vertex.training.files import weights_file
from local_cloud.vertex.wire.tuning import ADAPTER_SIZES, NOT_IMITATED

if TYPE_CHECKING:
    from pathlib import Path

    from local_cloud.vertex.catalogue import Catalogue
    from local_cloud.vertex.jobs.registry import Registry
    from local_cloud.vertex.jobs.store import Job, Store
    from local_cloud.vertex.settings import Settings

SPECS = {"supervisedTuningSpec": "supervised", "preferenceOptimizationSpec": "preference"}
"""The tuning specs that are imitated, and the learner's method for each."""

_PLAIN_FIELDS = ("tunedModelDisplayName", "description", "labels", "encryptionSpec", "serviceAccount")
_LABEL_KEY = re.compile(r"[\w-]{1,64}")
_LABEL_VALUE = re.compile(r"[\w-]{0,64}")
_DISPLAY_NAME_LENGTH = 128
_LABELS = 64
_TUNED_MODEL = re.compile(r"projects/([^/]+)/locations/([^/]+)/models/([^/@]+)(?:@([^/@]+))?")


def spec_of(document: dict[str, Any]) -> str | None:
    """Return the name of the field that holds a job's tuning spec; a planted job may have none."""
    return next((name for name in SPECS if name in document), None)


def base_model_of(document: dict[str, Any]) -> str:
    """Return the base model of a job, also when it continues from a tuned model; empty when a planted job has none."""
    return str(document.get("baseModel") or document.get("preTunedModel", {}).get("baseModel") or "")


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

    def document(self, request: dict[str, Any], parent: str) -> dict[str, Any]:
        """Return the canonical TuningJob that a request begins, without a name.

        Output-only fields of the request are ignored, as everywhere in Google's APIs. The adapter size and
        learning-rate multiplier of a request that leaves them open are filled in here, the epoch count once the data
        has been read.

        Raises:
            ApiError: the request is refused; see ``Catalogue.for_tuning`` and the "Tuning API" page. 501 for what
                Vertex AI does and this server doesn't.
        """
        for name in NOT_IMITATED:
            if name in request:
                imitated = " and ".join(f"`{spec}`" for spec in SPECS)
                raise ApiError(501, f"The local Vertex AI does not imitate `{name}`; it tunes with {imitated}.")
        specs = [name for name in SPECS if name in request]
        if not specs:
            raise invalid_argument("`supervised_tuning_spec` is required.")
        if len(specs) > 1:
            raise invalid_argument("Only one tuning spec can be set.")
        spec = request[specs[0]]
        hyper = spec.get("hyperParameters", {})
        _check_texts(request)
        _check_hyper_parameters(spec)
        source = self._source(request, parent)
        size = self._adapter_size(source, parent, hyper.get("adapterSize"))
        _check_datasets(spec)
        chosen = {
            **hyper,
            "adapterSize": size,
            "learningRateMultiplier": hyper.get("learningRateMultiplier") or 1.0,
        }
        created = now()
        return {
            "tunedModelDisplayName": f"{base_model_of(source)}-{uuid.uuid4()}",
            **source,
            **{name: request[name] for name in _PLAIN_FIELDS if name in request},
            specs[0]: {**spec, "hyperParameters": chosen},
            "state": "JOB_STATE_PENDING",
            "createTime": created,
            "updateTime": created,
        }

    def order(self, document: dict[str, Any], parent: str) -> dict[str, Any]:
        """Return the training order (``order.Order``) of a job's document."""
        name = spec_of(document) or ""
        spec = document[name]
        hyper = spec["hyperParameters"]
        base = self._catalogue.base(base_model_of(document))
        start_from = self._weights(document["preTunedModel"], parent) if "preTunedModel" in document else None
        return {
            "method": SPECS[name],
            "epochs": hyper.get("epochCount") or None,
            "adapter_size": ADAPTER_SIZES[hyper["adapterSize"]],
            "learning_rate_multiplier": hyper["learningRateMultiplier"],
            "beta": hyper.get("beta") or None,
            "last_checkpoint_only": spec.get("exportLastCheckpointOnly", False),
            "tokens_per_example": base.tokens_per_example if base else None,
            "images_per_example": base.images_per_example if base else None,
            "start_from": str(start_from) if start_from else None,
        }

    def _source(self, request: dict[str, Any], parent: str) -> dict[str, Any]:
        """Return what is tuned: ``baseModel``, or ``preTunedModel`` with all that the request left open."""
        base, tuned = request.get("baseModel"), request.get("preTunedModel")
        if base and tuned:
            raise invalid_argument("Only one of `base_model` and `pre_tuned_model` can be set.")
        location = parent.rsplit("/", 1)[1]
        if base:
            self._catalogue.for_tuning(base, location, retired_too=self._settings.behaviour.tune_retired)
            return {"baseModel": base}
        if not tuned:
            raise invalid_argument("`base_model` is required, or `pre_tuned_model`.")
        made_by, checkpoint = self._tuned_model(tuned, parent)
        if made_by.document.get("encryptionSpec") != request.get("encryptionSpec"):
            raise invalid_argument("Continuous tuning needs the `encryption_spec` that the tuned model has.")
        first = base_model_of(made_by.document)
        self._catalogue.for_tuning(first, location, retired_too=self._settings.behaviour.tune_retired)
        return {
            "preTunedModel": {**tuned, "checkpointId": checkpoint, "baseModel": first},
            "tunedModelDisplayName": made_by.document["tunedModelDisplayName"],
        }

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
        checkpoint = tuned.get("checkpointId") or found.checkpoint
        known = [item.checkpoint for item in self._registry.endpoints_of(found)]
        if checkpoint is None or checkpoint not in known:
            raise invalid_argument(f"Checkpoint {checkpoint} of model {name} was not found; it has {', '.join(known)}.")
        return job, checkpoint

    def _adapter_size(self, source: dict[str, Any], parent: str, asked: str | None) -> str:
        """Return the adapter size that a job gets."""
        asked = None if asked == "ADAPTER_SIZE_UNSPECIFIED" else asked
        base = self._catalogue.base(base_model_of(source))
        if asked and base and base.adapter_sizes and ADAPTER_SIZES[asked] not in base.adapter_sizes:
            raise invalid_argument("The adapter size is not supported for this base model.")
        default = _size_name(base.default_adapter_size if base else DEFAULT_ADAPTER_SIZE)
        if "preTunedModel" not in source:
            return asked or default
        job, _ = self._tuned_model(source["preTunedModel"], parent)
        spec = job.document.get(spec_of(job.document) or "", {})
        present = spec.get("hyperParameters", {}).get("adapterSize", default)
        if asked and asked != present:
            raise ApiError(
                501,
                f"The local Vertex AI continues tuning with the adapter size the model has, {present}, "
                f"and cannot change it to {asked}.",
            )
        return str(present)

    def _weights(self, tuned: dict[str, Any], parent: str) -> Path | None:
        """Return the weights a continuing job starts from; a planted model has none, its base model's are used."""
        job, checkpoint = self._tuned_model(tuned, parent)
        path = weights_file(self._settings.job_directory(job.id), checkpoint)
        return path if path.exists() else None


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

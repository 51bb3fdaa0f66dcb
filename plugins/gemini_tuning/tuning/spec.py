"""What is bought (the spec of a tuning job) and what comes back (the job)."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from typing import Any, Self

from pydantic import Field, model_validator

from gemini_tuning.tuning.models import is_tuned_model
from gemini_tuning.tuning.states import JobState
from gemini_tuning.values import Value

ADAPTER_SIZES = (1, 2, 4, 8, 16, 32)
LABEL_PATTERN = re.compile(r"[a-z0-9_-]{0,63}")
KEY_LABEL = "gemini-tuning-key"
ATTEMPT_LABEL = "gemini-tuning-attempt"
PIPELINE_LABEL = "gemini-tuning-pipeline"
RUN_LABEL = "gemini-tuning-run"
OWNER_LABEL = "gemini-tuning-owner"
INSTALLATION_LABEL = "gemini-tuning-installation"


class TuningJobSpec(Value):
    """Everything the Tuning API takes for supervised tuning. None = the service's recommendation or default."""

    base_model: str = Field(description="A base model id, or projects/…/models/… to tune a tuned model further.")
    training_dataset_uri: str
    validation_dataset_uri: str | None = None
    epochs: int | None = None
    adapter_size: int | None = None
    learning_rate_multiplier: float | None = None
    export_last_checkpoint_only: bool | None = None
    tuned_model_display_name: str | None = None
    description: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    pre_tuned_model_checkpoint_id: str | None = None
    kms_key_name: str | None = None
    service_account: str | None = None
    evaluation_config: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _checkpoint_needs_tuned_model(self) -> Self:
        # google-genai would drop it without a word, and the job would be paid for from scratch
        if self.pre_tuned_model_checkpoint_id and not is_tuned_model(self.base_model):
            raise ValueError("pre_tuned_model_checkpoint_id: only a tuned model (projects/…/models/…) has checkpoints")
        return self

    def purchase_key(self, *, project: str, location: str, training_sha256: str, validation_sha256: str | None) -> str:
        """Return the fingerprint of what is being bought: 40 hex digits, fit for a label.

        The same bytes, model, hyperparameters, project and location are the same purchase, whatever it is called.
        """
        bought = [
            training_sha256,
            validation_sha256,
            self.base_model,
            self.pre_tuned_model_checkpoint_id,
            self.epochs,
            self.adapter_size,
            self.learning_rate_multiplier,
            self.export_last_checkpoint_only,
            location,
            project,
        ]
        return hashlib.sha256(json.dumps(bought).encode()).hexdigest()[:40]


class Checkpoint(Value):
    """A state of the model kept while it was tuned; its endpoint is None where it was not deployed."""

    checkpoint_id: str | None = None
    epoch: int | None = None
    step: int | None = None
    endpoint: str | None = None


class TunedModel(Value):
    """What a tuning job made. A failed job may have a model without an endpoint."""

    model: str | None = None
    endpoint: str | None = None
    checkpoints: tuple[Checkpoint, ...] = ()


class ServiceError(Value):
    """``google.rpc.Status``: the service's own code and message."""

    code: int | None = None
    message: str | None = None


class TuningJob(Value):
    """A tuning job as last seen. Times are UTC; counts are the service's own.

    ``unknown_state`` is the word of a state that this release doesn't know; ``dropped_indices`` count examples from 1
    and name a sample of the ``dropped_examples``, ``dropped_reasons`` say why of each.
    """

    name: str
    state: JobState
    unknown_state: str | None = None
    detail_state: str | None = None
    base_model: str | None = None
    tuned_model_display_name: str | None = None
    tuned_model: TunedModel | None = None
    error: ServiceError | None = None
    experiment: str | None = None
    create_time: dt.datetime | None = None
    start_time: dt.datetime | None = None
    end_time: dt.datetime | None = None
    completed_epochs: int | None = None
    completed_steps: int | None = None
    billable_tokens: int | None = None
    training_examples: int | None = None
    dropped_examples: int | None = None
    dropped_indices: tuple[int, ...] = ()
    dropped_reasons: tuple[str, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)

    @property
    def location(self) -> str:
        """The location in the job's resource name."""
        return location_of(self.name)

    @property
    def console_url(self) -> str:
        """The job's page in the Google Cloud console."""
        _, project, _, location, _, job_id = self.name.split("/")
        return (
            "https://console.cloud.google.com/vertex-ai/generative/language/locations/"
            f"{location}/tuning/tuningJob/{job_id}?project={project}"
        )

    @property
    def state_words(self) -> str:
        """The state's short name, or the service's own word for one that this release doesn't know."""
        if self.unknown_state is None:
            return self.state.short
        return f"{self.unknown_state.removeprefix('JOB_STATE_')} (a state this release doesn't know)"

    @property
    def doing(self) -> str | None:
        """What the job is busy with, such as ``waiting for quota``; None when it has ended or doesn't say."""
        if self.detail_state is None or self.state.ended:
            return None
        return self.detail_state.removeprefix("TUNING_JOB_STATE_").replace("_", " ").lower()

    def progress(self) -> str:
        """Return one line for a log: state, what it is doing, how far it got."""
        parts = [self.state_words]
        if self.doing:
            parts.append(self.doing)
        if self.completed_epochs is not None:
            parts.append(f"epoch {self.completed_epochs}")
        if self.completed_steps is not None:
            parts.append(f"step {self.completed_steps}")
        return ", ".join(parts)

    def outcome(self, advice: str = "") -> str:
        """Return what to say of a job that ended: state, the service's own words, advice, where to look."""
        sentence = f"Tuning job {self.name} ended {self.state.short}"
        if self.error:
            sentence += f": code {self.error.code}, {self.error.message}"
        if self.tuned_model and self.tuned_model.model and not self.tuned_model.endpoint:
            sentence += f" The model {self.tuned_model.model} exists, but no endpoint serves it."
        return f"{sentence.rstrip('.')}. {f'{advice} ' if advice else ''}See {self.console_url}"


def location_of(resource_name: str) -> str:
    """Return the location in ``projects/P/locations/L/…``.

    A tuned endpoint may serve elsewhere than its job ran, so callers ask the endpoint's own name.

    :raises ValueError: when the name is of another form.
    """
    match = re.fullmatch(r"projects/[^/]+/locations/([^/]+)/.+", resource_name)
    if not match:
        raise ValueError(f"{resource_name!r} is not a full resource name (projects/…/locations/…/…)")
    return match.group(1)


def as_label(text: str) -> str:
    """Return the text as a label value: at most 63 lower-case letters, digits, ``_`` and ``-``."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:63]


def owner_of(dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str:
    """Return the label value of the task instance that buys: 57 characters, the same for all its tries.

    Ids are longer than a label, and written in letters it doesn't take; their fingerprint tells exactly one task
    instance from all others. It begins with the task's own, so that a job whose run is gone still tells its task.
    """
    return f"{task_of(dag_id, task_id)}-{_fingerprint(dag_id, run_id, task_id, map_index)[:40]}"


def task_of(dag_id: str, task_id: str) -> str:
    """Return what the owners of all of a task's instances begin with: 16 hex digits."""
    return _fingerprint(dag_id, task_id)[:16]


def _fingerprint(*parts: str | int) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

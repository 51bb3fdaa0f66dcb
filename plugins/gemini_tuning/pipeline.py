"""The pipeline file: what a data team writes to have a model retrained."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from gemini_tuning.dataset.options import Checks
from gemini_tuning.errors import ConfigError
from gemini_tuning.explain import explain
from gemini_tuning.settings import WaitMode
from gemini_tuning.tuning.models import is_tuned_model
from gemini_tuning.tuning.spec import LABEL_PATTERN
from gemini_tuning.values import Value
from gemini_tuning.yaml_files import load_yaml

SCHEDULE_PRESETS = ("@once", "@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
_RESERVED_LABEL_PREFIX = "gemini-tuning-"


def _check_schedule(schedule: str) -> str:
    from croniter import croniter

    if schedule not in SCHEDULE_PRESETS and not (len(schedule.split()) == 5 and croniter.is_valid(schedule)):
        presets = ", ".join(SCHEDULE_PRESETS)
        raise ValueError(f"{schedule!r} is neither a cron expression of five fields nor one of {presets}")
    return schedule


def _check_labels(labels: dict[str, str]) -> dict[str, str]:
    for key, value in labels.items():
        if key.startswith(_RESERVED_LABEL_PREFIX):
            raise ValueError(
                f"label {key!r}: labels that start with {_RESERVED_LABEL_PREFIX!r} are set by the pipeline"
            )
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) or not LABEL_PATTERN.fullmatch(value):
            raise ValueError(
                f"label {key!r}: keys and values take at most 63 lower-case letters, digits, '_' and '-', "
                "and a key starts with a letter"
            )
    return labels


def _check_name(name: str) -> str:
    if name == "on_demand":
        raise ValueError("'on_demand' is the name of the Dag with the form")
    return name


def _check_base_model(base_model: str) -> str:
    if "/" in base_model and not re.fullmatch(r"projects/[^/]+/locations/[^/]+/models/[^/]+", base_model):
        raise ValueError(
            "write an id of models.yaml, or projects/P/locations/L/models/ID to tune a tuned model further"
        )
    return base_model


def _check_dataset(reference: str) -> str:
    if "://" in reference and not re.fullmatch(r"gs://[^/]+/.+", reference):
        raise ValueError("write a path below the data root, or gs://bucket/path/file.jsonl")
    return reference


Schedule = Annotated[str, AfterValidator(_check_schedule)]
Labels = Annotated[dict[str, str], AfterValidator(_check_labels)]
BaseModelReference = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_check_base_model)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$"), AfterValidator(_check_name)]
DatasetReference = Annotated[str, Field(min_length=1), AfterValidator(_check_dataset)]


class Hyperparameters(Value):
    """Leave one unset and the tuning service chooses it."""

    epochs: int | None = Field(
        default=None, strict=True, ge=1, le=1000, description="Full passes over the training data."
    )
    adapter_size: Literal[1, 2, 4, 8, 16, 32] | None = Field(
        default=None, description="Bigger learns more from more data, and takes longer."
    )
    learning_rate_multiplier: float | None = Field(
        default=None, strict=True, gt=0, le=100, description="Factor on the recommended learning rate."
    )


class Wait(Value):
    """How the pipeline waits for the tuning job, without holding a worker."""

    mode: WaitMode | None = Field(
        default=None,
        description="reschedule: for installations whose triggerer can't import this package. "
        "Unset: the installation's (GEMINI_TUNING_WAIT_MODE), else deferrable.",
    )
    poll_interval_seconds: float = Field(
        default=60, strict=True, ge=1, le=86_400, description="Time between two looks at the job."
    )
    timeout_hours: float = Field(
        default=24, strict=True, gt=0, le=1000, description="After this the run fails; on_timeout says what of the job."
    )
    on_timeout: Literal["cancel", "leave"] = Field(
        default="cancel", description="What becomes of the run's own job then. A job that is left is still billed."
    )
    max_dropped_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="The run fails when the service left out a larger share of the training examples. Unset: any.",
    )


class Notifications(Value):
    """Who is told when a run ends, by e-mail through Airflow's SMTP connection."""

    email: tuple[str, ...] = Field(min_length=1)
    when: tuple[Literal["success", "failure"], ...] = ("failure",)  # "on" would be read as true by YAML
    smtp_conn_id: str = "smtp_default"


class PipelineConfig(Value):
    """One retraining pipeline: becomes the Dag ``tune_{name}``."""

    name: Name = Field(description="The Dag's id is tune_{name}.")
    description: str | None = None
    owner: str = Field(default="data-team", min_length=1, description="Shown in Airflow's list of Dags.")
    project: str | None = Field(default=None, description="Google Cloud project; unset = the connection's.")
    location: str = Field(default="us-central1", pattern=r"^[a-z0-9-]+$", description="Where the job runs.")
    gcp_conn_id: str = Field(default="google_cloud_default", description="Airflow's Google Cloud connection.")
    bucket: str = Field(min_length=3, pattern=r"^[a-z0-9][a-z0-9._-]+$", description="Without gs://.")
    prefix: str = Field(default="gemini-tuning", description="Folder in the bucket.")
    base_model: BaseModelReference = Field(
        description="An id of models.yaml, or projects/…/models/… to tune a tuned model further.",
    )
    checkpoint_id: str | None = Field(default=None, description="With a tuned model: the checkpoint to start from.")
    train: DatasetReference = Field(description="JSONL below the data root, or gs://bucket/path.jsonl.")
    validation: DatasetReference | None = Field(default=None, description="Like train; never trained on.")
    checks: Checks = Checks()
    budget_usd: float | None = Field(
        default=None, strict=True, gt=0, description="A job estimated to cost more is not bought. Unset: no limit."
    )
    force_new: bool = Field(
        default=False,
        strict=True,
        description="Pay again, even if the same data was tuned with the same settings before.",
    )
    hyperparameters: Hyperparameters = Hyperparameters()
    export_last_checkpoint_only: bool = False
    tuned_model_display_name: str | None = Field(default=None, min_length=1, max_length=128)
    labels: Labels = Field(default_factory=dict)
    kms_key_name: str | None = Field(default=None, description="Customer-managed encryption key.")
    service_account: str | None = Field(default=None, description="The identity the job runs as.")
    schedule: Schedule | None = Field(default=None, description="Cron (UTC), a preset, or null: by hand.")
    smoke_suite: str = Field(pattern=r"^[^/].*\.ya?ml$", description="File in the folder of smoke suites.")
    wait: Wait = Wait()
    notifications: Notifications | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_templates(cls, document: object) -> object:
        if (path := _find_template(document)) is not None:
            raise ValueError(f"field {path!r}: holds template marks ({{{{, {{% or {{#), which are not filled in here")
        return document

    @model_validator(mode="after")
    def _checkpoint_needs_tuned_model(self) -> Self:
        if self.checkpoint_id is not None and not is_tuned_model(self.base_model):
            raise ValueError("field 'checkpoint_id': only a tuned model (projects/…/models/…) has checkpoints")
        return self

    @property
    def dag_id(self) -> str:
        """``tune_{name}``."""
        return f"tune_{self.name}"

    @classmethod
    def parse(cls, document: object, source: str) -> PipelineConfig:
        """Return the typed pipeline of a YAML or JSON document.

        :param source: where the document comes from, for the error.
        :raises ConfigError: naming source, field and reason of every fault.
        """
        if not isinstance(document, dict):
            raise ConfigError(f"{source}: a pipeline is a mapping of settings, such as 'name: support_replies'.")
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise ConfigError(f"{source}: {explain(error, cls)}.") from None

    @classmethod
    def load(cls, path: Path) -> PipelineConfig:
        """Read one pipeline file.

        :raises ConfigError: naming file, field and reason.
        """
        return cls.parse(load_yaml(path), str(path))


def load_pipelines(folder: Path) -> tuple[list[PipelineConfig], list[ConfigError]]:
    """Return every good pipeline of a folder, and one error for each broken file."""
    pipelines: dict[str, PipelineConfig] = {}
    errors = []
    for path in _yaml_files(folder):
        try:
            pipeline = PipelineConfig.load(path)
            if pipeline.name in pipelines:
                raise ConfigError(f"{path}: field 'name': {pipeline.name!r} is the name of another pipeline.")
        except ConfigError as error:
            errors.append(error)
        else:
            pipelines[pipeline.name] = pipeline
    return list(pipelines.values()), errors


def _find_template(node: object, path: str = "") -> str | None:
    """Return the path of the first string that Airflow would take for a Jinja template."""
    if isinstance(node, str):
        return path if re.search(r"\{[{%#]", node) else None
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    found = (_find_template(value, f"{path}.{key}".removeprefix(".")) for key, value in items)
    return next(filter(None, found), None)


def _yaml_files(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix in {".yaml", ".yml"})

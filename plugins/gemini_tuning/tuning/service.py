"""Tuning jobs of one project and location, through google-genai."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from gemini_tuning.errors import (
    ConfigError,
    GeminiTuningError,
    ServiceRefusedError,
    SubmissionUnknownError,
    TransientError,
)
from gemini_tuning.google_errors import google_errors, never_accepted
from gemini_tuning.tuning.spec import KEY_LABEL, Checkpoint, ServiceError, TunedModel, TuningJob, TuningJobSpec
from gemini_tuning.tuning.states import JobState

if TYPE_CHECKING:
    from google.genai import Client, types

_ADAPTER_SIZES = {
    1: "ADAPTER_SIZE_ONE",
    2: "ADAPTER_SIZE_TWO",
    4: "ADAPTER_SIZE_FOUR",
    8: "ADAPTER_SIZE_EIGHT",
    16: "ADAPTER_SIZE_SIXTEEN",
    32: "ADAPTER_SIZE_THIRTY_TWO",
}


class TuningService:
    """Create, get, list and cancel tuning jobs.

    Every method raises ``ServiceRefusedError`` (the request is wrong) and ``TransientError`` (try later).

    :param client: a google-genai client in Vertex AI mode; kept alive here, as it closes when it is collected.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, spec: TuningJobSpec) -> TuningJob:
        """Create a supervised tuning job: one POST, never repeated, because each one that arrives is paid for.

        :raises ServiceRefusedError: no job was made.
        :raises TransientError: the request was never sent, or the quota is used up; no job was made by this request.
        :raises SubmissionUnknownError: a job may have been made.
        """
        from google.genai import types

        dataset = types.TuningDataset(gcs_uri=spec.training_dataset_uri)
        config = _create_config(spec)
        try:
            with google_errors("Creating the tuning job"):
                return to_tuning_job(
                    self._client.tunings.tune(base_model=spec.base_model, training_dataset=dataset, config=config)
                )
        except ServiceRefusedError:
            raise
        except Exception as error:
            if isinstance(error, TransientError) and never_accepted(error.__cause__):
                raise
            reason = str(error) if isinstance(error, TransientError) else f"The answer makes no sense ({error})."
            raise SubmissionUnknownError(
                f"{reason} Whether the service made a job is not known: look for one with the labels "
                f"{spec.labels} before submitting again, so that nothing is paid for twice."
            ) from error

    def get(self, name: str) -> TuningJob:
        """Return a job as it is now.

        :param name: the full resource name, ``projects/P/locations/L/tuningJobs/ID``.
        """
        check_job_name(name)
        with google_errors(f"Reading tuning job {name}"):
            return to_tuning_job(self._client.tunings.get(name=name))

    def list(self, filter_: str | None = None, page_size: int = 100) -> Iterator[TuningJob]:
        """Yield jobs, newest first, page by page.

        :param filter_: an API filter such as ``labels.gemini-tuning-key="…"``.
        """
        with google_errors("Listing tuning jobs"):
            for job in self._client.tunings.list(config={"page_size": page_size, "filter": filter_}):
                yield to_tuning_job(job)

    def of_purchase(self, key: str) -> tuple[TuningJob, ...]:
        """Return all jobs of one purchase, newest first; the newest may be missing for a while.

        :param key: their ``KEY_LABEL``.
        """
        found = self.list(f'labels.{KEY_LABEL}="{key}"')
        return tuple(job for job in found if job.labels.get(KEY_LABEL) == key)  # should the filter ever be ignored

    def pages(self, filter_: str | None = None, page_size: int = 100) -> Iterator[tuple[TuningJob, ...]]:
        """Yield pages of jobs, newest first; each is one request, made when it is asked for.

        A job that can't be read is left out: ``get`` says what is wrong with it.
        """
        with google_errors("Listing tuning jobs"):
            pager = self._client.tunings.list(config={"page_size": page_size, "filter": filter_})
        while True:
            yield tuple(_readable(pager.page))
            if not pager.config.get("page_token"):
                return
            with google_errors("Listing tuning jobs"):
                pager.next_page()

    def cancel(self, name: str) -> None:
        """Ask for a job to be cancelled; the service does so in its own time and keeps the job."""
        check_job_name(name)
        with google_errors(f"Cancelling tuning job {name}"):
            self._client.tunings.cancel(name=name)


def check_job_name(name: str) -> None:
    """Refuse short ids, from which the client builds wrong paths.

    :raises ConfigError: when the name isn't ``projects/P/locations/L/tuningJobs/ID``.
    """
    parts = name.split("/")
    if len(parts) != 6 or parts[0::2] != ["projects", "locations", "tuningJobs"] or not all(parts):
        raise ConfigError(f"{name!r} is not a tuning job; write projects/P/locations/L/tuningJobs/ID.")


def _create_config(spec: TuningJobSpec) -> types.CreateTuningJobConfig:
    from google.genai import types

    return types.CreateTuningJobConfig(
        validation_dataset=(
            types.TuningValidationDataset(gcs_uri=spec.validation_dataset_uri) if spec.validation_dataset_uri else None
        ),
        epoch_count=spec.epochs,
        adapter_size=types.AdapterSize(_ADAPTER_SIZES[spec.adapter_size]) if spec.adapter_size else None,
        learning_rate_multiplier=spec.learning_rate_multiplier,
        export_last_checkpoint_only=spec.export_last_checkpoint_only,
        tuned_model_display_name=spec.tuned_model_display_name,
        description=spec.description,
        labels=spec.labels or None,
        pre_tuned_model_checkpoint_id=spec.pre_tuned_model_checkpoint_id,
        encryption_spec=types.EncryptionSpec(kms_key_name=spec.kms_key_name) if spec.kms_key_name else None,
        evaluation_config=_evaluation_config(spec.evaluation_config),
        http_options=types.HttpOptions(
            retry_options=types.HttpRetryOptions(attempts=1),
            # the client's config has no field for it
            extra_body={"serviceAccount": spec.service_account} if spec.service_account else None,
        ),
    )


def _evaluation_config(document: dict[str, Any] | None) -> types.EvaluationConfig | None:
    from google.genai import types

    if document is None:
        return None
    try:
        return types.EvaluationConfig.model_validate(document)
    except ValueError as error:
        raise ConfigError(
            f"evaluation_config is not what the Tuning API takes: {' '.join(str(error).split())}"
        ) from None


def _readable(jobs: Iterable[types.TuningJob]) -> Iterator[TuningJob]:
    for job in jobs:
        try:
            yield to_tuning_job(job)
        except (GeminiTuningError, ValueError):
            continue


def to_tuning_job(job: types.TuningJob) -> TuningJob:
    """Keep of the client's object what this project uses."""
    stats = job.tuning_data_stats and job.tuning_data_stats.supervised_tuning_data_stats
    progress = job.tuning_job_metadata
    check_job_name(job.name or "")
    word = job.state.value if job.state else JobState.UNSPECIFIED.value
    state = JobState(word)
    return TuningJob(
        name=job.name or "",
        state=state,
        unknown_state=word if word != state.value else None,
        detail_state=job.tuning_job_state.value if job.tuning_job_state else None,
        base_model=job.base_model or (job.pre_tuned_model.base_model if job.pre_tuned_model else None),
        tuned_model_display_name=job.tuned_model_display_name,
        tuned_model=_to_tuned_model(job.tuned_model) if job.tuned_model else None,
        error=ServiceError(code=job.error.code, message=job.error.message) if job.error else None,
        experiment=job.experiment,
        create_time=job.create_time,
        start_time=job.start_time,
        end_time=job.end_time,
        completed_epochs=progress.completed_epoch_count if progress else None,
        completed_steps=progress.completed_step_count if progress else None,
        billable_tokens=_int(stats.total_billable_token_count) if stats else None,
        training_examples=_int(stats.tuning_dataset_example_count) if stats else None,
        dropped_examples=_int(stats.total_truncated_example_count) if stats else None,
        dropped_indices=tuple((stats and stats.truncated_example_indices) or ()),
        dropped_reasons=tuple((stats and stats.dropped_example_reasons) or ()),
        labels=job.labels or {},
    )


def _to_tuned_model(model: types.TunedModel) -> TunedModel:
    return TunedModel(
        model=model.model,
        endpoint=model.endpoint,
        checkpoints=tuple(
            Checkpoint(
                checkpoint_id=checkpoint.checkpoint_id,
                epoch=_int(checkpoint.epoch),
                step=_int(checkpoint.step),
                endpoint=checkpoint.endpoint,
            )
            for checkpoint in model.checkpoints or []
        ),
    )


def _int(value: Any) -> int | None:
    return None if value is None else int(value)

"""Submit a tuning job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from gemini_tuning.dataset.upload import UploadedDatasets, require_unchanged
from gemini_tuning.links import CONSOLE_URL_KEY, VertexTuningJobLink
from gemini_tuning.operators.base import GeminiTuningOperator
from gemini_tuning.pipeline import Hyperparameters
from gemini_tuning.tuning.spec import (
    ATTEMPT_LABEL,
    KEY_LABEL,
    PIPELINE_LABEL,
    RUN_LABEL,
    TuningJobSpec,
    as_label,
)

if TYPE_CHECKING:
    from airflow.sdk import Context


class SubmitTuningJobOperator(GeminiTuningOperator):
    """Create a supervised tuning job, labelled with what is being bought and for whom. Each submission is paid for.

    Returns the ``TuningJob``. Give the task no retries: a request whose answer was lost may have made a job.

    :param datasets: the ``UploadedDatasets`` of ``UploadDatasetOperator`` (templated).
    :param base_model: a base model id, or ``projects/…/models/…`` to tune a tuned model further (templated).
    :param pipeline: the pipeline's name, for the labels (templated).
    :param hyperparameters: ``epochs``, ``adapter_size``, ``learning_rate_multiplier``; unset = the service's
        recommendation (templated).
    :param tuned_model_display_name: at most 128 characters; None = the service's choice (templated).
    :param labels: labels of the job besides the pipeline's own (templated).
    :param checkpoint_id: with a tuned model: the checkpoint to start from (templated).
    :param export_last_checkpoint_only: keep no intermediate checkpoints (templated).
    :param kms_key_name: customer-managed encryption key (templated).
    :param service_account: the identity the job runs as; None = the tuning service agent (templated).
    :param description: free text on the job (templated).
    :param evaluation_config: the Tuning API's ``EvaluationConfig`` as JSON (templated).
    """

    template_fields: ClassVar[Sequence[str]] = (
        *GeminiTuningOperator.template_fields,
        "datasets",
        "base_model",
        "pipeline",
        "hyperparameters",
        "tuned_model_display_name",
        "labels",
        "checkpoint_id",
        "export_last_checkpoint_only",
        "kms_key_name",
        "service_account",
        "description",
        "evaluation_config",
    )
    operator_extra_links = (VertexTuningJobLink(),)

    def __init__(
        self,
        *,
        datasets: dict[str, Any],
        base_model: str,
        pipeline: str,
        hyperparameters: dict[str, Any] | None = None,
        tuned_model_display_name: str | None = None,
        labels: dict[str, str] | None = None,
        checkpoint_id: str | None = None,
        export_last_checkpoint_only: bool = False,
        kms_key_name: str | None = None,
        service_account: str | None = None,
        description: str | None = None,
        evaluation_config: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.datasets = datasets
        self.base_model = base_model
        self.pipeline = pipeline
        self.hyperparameters = hyperparameters
        self.tuned_model_display_name = tuned_model_display_name
        self.labels = labels
        self.checkpoint_id = checkpoint_id
        self.export_last_checkpoint_only = export_last_checkpoint_only
        self.kms_key_name = kms_key_name
        self.service_account = service_account
        self.description = description
        self.evaluation_config = evaluation_config

    def run_stage(self, context: Context) -> dict[str, Any]:
        """Return the job as the service created it."""
        hook = self.hook
        datasets = UploadedDatasets.from_json(self.datasets)
        spec = self._spec(datasets, hook.project, context["run_id"])
        storage = hook.storage()
        for dataset in filter(None, (datasets.train, datasets.validation)):
            require_unchanged(storage, dataset)
        job = hook.jobs.create(spec)
        self.log.info("Submitted %s (%s). Console: %s", job.name, job.state.short, job.console_url)
        context["ti"].xcom_push(CONSOLE_URL_KEY, job.console_url)
        return job.to_json()

    def _spec(self, datasets: UploadedDatasets, project: str, run_id: str) -> TuningJobSpec:
        chosen = Hyperparameters.from_json(self.hyperparameters or {})
        spec = TuningJobSpec(
            base_model=self.base_model,
            training_dataset_uri=datasets.train.uri,
            validation_dataset_uri=datasets.validation.uri if datasets.validation else None,
            epochs=chosen.epochs,
            adapter_size=chosen.adapter_size,
            learning_rate_multiplier=chosen.learning_rate_multiplier,
            export_last_checkpoint_only=self.export_last_checkpoint_only or None,
            tuned_model_display_name=self.tuned_model_display_name,
            description=self.description,
            pre_tuned_model_checkpoint_id=self.checkpoint_id,
            kms_key_name=self.kms_key_name,
            service_account=self.service_account,
            evaluation_config=self.evaluation_config,
        )
        key = spec.purchase_key(
            project=project,
            location=self.location,
            training_sha256=datasets.train.sha256,
            validation_sha256=datasets.validation.sha256 if datasets.validation else None,
        )
        own = {
            KEY_LABEL: key,
            ATTEMPT_LABEL: "1",
            PIPELINE_LABEL: as_label(self.pipeline),
            RUN_LABEL: as_label(run_id),
        }
        return spec.model_copy(update={"labels": {**(self.labels or {}), **own}})

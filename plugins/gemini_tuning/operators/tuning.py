"""Tune a model: buy the tuning job once, and wait for it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from gemini_tuning.airflow_state import TaskRecords
from gemini_tuning.dataset.upload import UploadedDatasets, require_unchanged
from gemini_tuning.errors import GeminiTuningError, TuningJobFailedError
from gemini_tuning.links import PURCHASE_KEY, VertexTuningJobLink
from gemini_tuning.pipeline import Hyperparameters
from gemini_tuning.sensors.waiting import TuningJobWait
from gemini_tuning.settings import installation, request_seconds, settle_seconds
from gemini_tuning.tuning.buying import Buyer, Purchase
from gemini_tuning.tuning.cancelling import KILLED_SECONDS, give_up
from gemini_tuning.tuning.purchase import How, Order, Patience
from gemini_tuning.tuning.spec import (
    INSTALLATION_LABEL,
    KEY_LABEL,
    OWNER_LABEL,
    PIPELINE_LABEL,
    RUN_LABEL,
    TuningJob,
    TuningJobSpec,
    as_label,
    owner_of,
)
from gemini_tuning.tuning.states import JobState
from gemini_tuning.tuning.wait import OnTimeout

if TYPE_CHECKING:
    from airflow.sdk import Context


class TuneModelOperator(TuningJobWait):
    """Have a model tuned: find or buy the one job of a purchase, and wait until it has succeeded.

    Returns the ``TuningJob``. Buying and waiting are one task because a wait may have to buy again: when its job was
    cancelled by the run that had bought it. Retries are safe; see ``Buyer``. An end of the task cancels the job it has
    bought, never one that another run has bought.

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
    :param force_new: don't take a job that succeeded before: pay again (templated).
    :param location: where the job runs (templated).
    :param on_timeout: ``cancel`` or ``leave``: what becomes of the task's own job when the ``timeout`` is over.
    :param cancel_on_kill: cancel the task's own job when somebody marks or clears the task.
    """

    template_fields: ClassVar[Sequence[str]] = (
        *TuningJobWait.template_fields,
        "location",
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
        "force_new",
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
        force_new: bool = False,
        location: str = "us-central1",
        on_timeout: str = OnTimeout.CANCEL.value,
        cancel_on_kill: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(on_timeout=on_timeout, cancel_on_kill=cancel_on_kill, **kwargs)
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
        self.force_new = force_new
        self.location = location
        self._order: Order | None = None
        self._buyer: Buyer | None = None
        self._purchase: Purchase | None = None

    @property
    def job_name(self) -> str:
        """The full resource name of the job at hand; empty before there is one."""
        return self._purchase.job.name if self._purchase else ""

    def _look(self, context: Context) -> TuningJob:
        """Find or buy the job, and tell how it was come by."""
        purchase = self._purchase = self._buy(context)
        if purchase.news:
            self.log.info("%s", purchase.sentence())
        context["ti"].xcom_push(PURCHASE_KEY, purchase.in_short())
        self._show(context, purchase.job)
        return purchase.job

    def _buy(self, context: Context) -> Purchase:
        hook = self._hook()
        if self._order is None or self._buyer is None:
            datasets = UploadedDatasets.from_json(self.datasets)
            storage = hook.storage()

            def check() -> None:
                for dataset in filter(None, (datasets.train, datasets.validation)):
                    require_unchanged(storage, dataset)

            patience = Patience(settle_seconds=settle_seconds(), request_seconds=request_seconds())
            self._order = self._ordered(context, datasets, hook.project)
            self._buyer = Buyer(hook.jobs, TaskRecords(context), patience, check=check)
        return self._buyer.buy(self._order)

    def _concluded(self, context: Context, job: TuningJob) -> dict[str, Any]:
        """Return the job if it succeeded; else see whether another one is to be had in its place."""
        if job.state is JobState.SUCCEEDED:
            if self._purchase and self._purchase.how is How.REUSED:
                self._hook().require_served(job)
            return super()._concluded(context, job)
        if self._purchase is None or not self._purchase.job.state.ended:
            self._deadline = time.time() + self.timeout
            return self._go_on(context, self._look(context))
        raise TuningJobFailedError(self._purchase.sentence())

    def _policy(self) -> OnTimeout:
        return self.on_timeout if self._answers_for_the_job() else OnTimeout.LEAVE

    def _cancels_on_kill(self) -> bool:
        return self.cancel_on_kill and self._answers_for_the_job()

    def _answers_for_the_job(self) -> bool:
        return self._purchase is not None and self._purchase.own

    def _location(self) -> str:
        return self.location

    def _cancel_killed(self) -> None:
        """Cancel what the task has bought, be it only just asked for."""
        order, buyer = self._order, self._buyer
        if order is None or buyer is None:
            return
        try:
            jobs = self._hook().urgent_jobs()
            for cancellation in give_up(jobs, order, buyer.remembered, within_seconds=KILLED_SECONDS):
                self.log.info("%s", cancellation.sentence())
        except GeminiTuningError as error:
            self.log.error("%s A tuning job labelled %s=%s may go on and be billed.", error, KEY_LABEL, order.key)

    def _ordered(self, context: Context, datasets: UploadedDatasets, project: str) -> Order:
        task = context["ti"]
        spec = self._spec(datasets)
        key = spec.purchase_key(
            project=project,
            location=self.location,
            training_sha256=datasets.train.sha256,
            validation_sha256=datasets.validation.sha256 if datasets.validation else None,
        )
        own = {
            PIPELINE_LABEL: as_label(self.pipeline),
            RUN_LABEL: as_label(task.run_id),
            OWNER_LABEL: owner_of(task.dag_id, task.run_id, task.task_id, task.map_index),
        }
        if name := installation():
            own[INSTALLATION_LABEL] = name
        labelled = spec.model_copy(update={"labels": {**(self.labels or {}), **own}})
        return Order(
            spec=labelled,
            key=key,
            claim=str(task.try_number),
            round=str(task.max_tries),  # Airflow raises it when a task is cleared, and only then
            force_new=self.force_new,
        )

    def _spec(self, datasets: UploadedDatasets) -> TuningJobSpec:
        chosen = Hyperparameters.from_json(self.hyperparameters or {})
        return TuningJobSpec(
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

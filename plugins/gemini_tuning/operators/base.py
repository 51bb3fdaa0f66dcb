"""What all operators of this package share: a Google connection, and errors said the Airflow way."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from gemini_tuning.airflow_errors import airflow_errors

if TYPE_CHECKING:
    from airflow.sdk import Context

    from gemini_tuning.hooks.tuning import GeminiTuningHook


class GeminiTuningOperator(BaseOperator):
    """Base of the operators.

    :param gcp_conn_id: Airflow's Google Cloud connection (templated).
    :param project_id: Google Cloud project (templated); None = the connection's.
    :param location: where tuning jobs run (templated).
    :param impersonation_chain: service accounts to act as (templated).
    """

    template_fields: ClassVar[Sequence[str]] = ("gcp_conn_id", "project_id", "location", "impersonation_chain")

    def __init__(
        self,
        *,
        gcp_conn_id: str = "google_cloud_default",
        project_id: str | None = None,
        location: str = "us-central1",
        impersonation_chain: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.gcp_conn_id = gcp_conn_id
        self.project_id = project_id
        self.location = location
        self.impersonation_chain = impersonation_chain

    def execute(self, context: Context) -> Any:
        """Do the stage; a permanent fault fails the task at once, a transient one with its retries."""
        with airflow_errors(self.log):
            return self.run_stage(context)

    @abstractmethod
    def run_stage(self, context: Context) -> Any:
        """Do the stage and return its result as plain JSON types."""

    @property
    def hook(self) -> GeminiTuningHook:
        """A hook on the operator's connection."""
        from gemini_tuning.hooks.tuning import GeminiTuningHook

        return GeminiTuningHook(self.gcp_conn_id, self.project_id, self.location, self.impersonation_chain)

"""The hook: everything this project asks of Google, with the credentials and project of a Google connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from airflow.providers.google.common.hooks.base_google import GoogleBaseHook
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException

from gemini_tuning.errors import ConfigError
from gemini_tuning.google_errors import google_errors, innermost_reason
from gemini_tuning.smoke.endpoint import Endpoint
from gemini_tuning.tuning.client import json_reader, vertex_client
from gemini_tuning.tuning.metrics import Metrics, metrics_location, read_metrics
from gemini_tuning.tuning.service import TuningService
from gemini_tuning.tuning.serving import require_served
from gemini_tuning.tuning.spec import TuningJob, location_of
from gemini_tuning.tuning.tokens import TokenCounter, counting_location

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.cloud.storage import Client as StorageClient

    from gemini_tuning.tuning.models import BaseModelInfo, Thinking


POLL_TIMEOUT_SECONDS = 20.0
URGENT_TIMEOUT_SECONDS = 5.0


class PolledJobs:
    """The source of a poller: the tuning service, and the curves of its jobs.

    :param service: asks each request once.
    :param metrics: returns the curves a job has recorded so far.
    """

    def __init__(self, service: TuningService, metrics: Callable[[TuningJob], Metrics]) -> None:
        self.pages = service.pages
        self.get = service.get
        self.cancel = service.cancel
        self.metrics = metrics


class GeminiTuningHook(GoogleBaseHook):
    """Vertex AI tuning and Cloud Storage through one Google connection.

    :param gcp_conn_id: the Airflow connection (type ``google_cloud_platform``).
    :param project_id: the project; None = the connection's.
    :param location: where tuning jobs run, such as ``us-central1``.
    :param impersonation_chain: service accounts to act as.
    :raises ConfigError: when there is no such connection.
    """

    def __init__(
        self,
        gcp_conn_id: str = "google_cloud_default",
        project_id: str | None = None,
        location: str = "us-central1",
        impersonation_chain: str | Sequence[str] | None = None,
    ) -> None:
        try:
            super().__init__(gcp_conn_id=gcp_conn_id, impersonation_chain=impersonation_chain)
        except AirflowNotFoundException:
            raise ConfigError(
                f"Airflow has no connection {gcp_conn_id!r}; create it (type Google Cloud), "
                "or correct the pipeline's 'gcp_conn_id'."
            ) from None
        self.location = location
        self._project = project_id

    @cached_property
    def credentials(self) -> Credentials:
        """The connection's credentials.

        :raises ConfigError: when they can't be loaded.
        """
        with google_errors(f"Loading the credentials of connection {self.gcp_conn_id!r}"):
            try:
                return self.get_credentials()
            except (AirflowException, OSError, ValueError) as error:
                raise ConfigError(
                    f"connection {self.gcp_conn_id!r} holds no usable credentials: {innermost_reason(error)}. "
                    "Check its key file or keyfile JSON."
                ) from None

    @cached_property
    def project(self) -> str:
        """The project given, or else the connection's.

        :raises ConfigError: when neither names one.
        """
        project = self._project or (self.credentials and self.project_id)
        if not project:
            raise ConfigError(
                f"no project: connection {self.gcp_conn_id!r} names none; set it there, or in the pipeline's 'project'."
            )
        return str(project)

    @cached_property
    def jobs(self) -> TuningService:
        """Tuning jobs of this project and location."""
        return TuningService(vertex_client(self.credentials, self.project, self.location))

    def polled(self) -> PolledJobs:
        """Return what a poller asks: each request is made once, as the poller itself decides when to ask again."""
        client = vertex_client(self.credentials, self.project, self.location, attempts=1, timeout=POLL_TIMEOUT_SECONDS)
        return PolledJobs(TuningService(client), self.metrics)

    def urgent_jobs(self) -> TuningService:
        """Return a new service for a process that is about to be killed: a call ends after 5 s, nothing is repeated."""
        client = vertex_client(
            self.credentials, self.project, self.location, attempts=1, timeout=URGENT_TIMEOUT_SECONDS
        )
        return TuningService(client)

    def endpoint(self, name: str, thinking: Thinking | None = None) -> Endpoint:
        """Return an endpoint to ask, reached at the location its own name says.

        :param name: full resource name of a tuned endpoint, or a base model id.
        :param thinking: how its base model is asked not to think.
        """
        location = location_of(name) if name.startswith("projects/") else self.location
        return Endpoint(vertex_client(self.credentials, self.project, location), name, thinking)

    def token_counter(self, base_model: str, info: BaseModelInfo | None) -> TokenCounter:
        """Return what counts the tokens of examples as a base model does.

        :param info: the model's row of the table.
        """
        location = counting_location(base_model, info, self.location)
        return TokenCounter(vertex_client(self.credentials, self.project, location), base_model)

    def metrics(self, job: TuningJob) -> Metrics:
        """Return the curves a job has recorded so far."""
        return read_metrics(json_reader(self.credentials, metrics_location(job)), job)

    def require_served(self, job: TuningJob) -> None:
        """Make sure that the endpoint of a job that succeeded earlier is still there.

        :raises ServiceRefusedError: it is gone.
        """
        endpoint = job.tuned_model and job.tuned_model.endpoint
        if endpoint:
            require_served(json_reader(self.credentials, location_of(endpoint)), job)

    def storage(self) -> StorageClient:
        """Return a Cloud Storage client."""
        from google.cloud.storage import Client

        return Client(project=self.project, credentials=self.credentials)

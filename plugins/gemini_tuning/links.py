"""Links from a task in Airflow's UI to what it stands for in the Google Cloud console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink
from airflow.sdk.execution_time.xcom import XCom

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

CONSOLE_URL_KEY = "console_url"
TUNING_JOB_KEY = "tuning_job"  # the full resource name of the job a task has, as soon as it has one
TUNING_JOB_LEFT_KEY = "tuning_job_left"  # the same, of a job that may go on when its task no longer waits for it
PROGRESS_KEY = "progress"
PURCHASE_KEY = "purchase"  # who has paid for it


class VertexTuningJobLink(BaseOperatorLink):
    """The tuning job's page. Operators push its address as soon as they know the job, so it works while it runs."""

    @property
    def name(self) -> str:
        """The button's text."""
        return "Vertex AI tuning job"

    @property
    def xcom_key(self) -> str:
        """The XCom that holds the address."""
        return CONSOLE_URL_KEY

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address, or an empty string while there is no job."""
        return XCom.get_value(key=CONSOLE_URL_KEY, ti_key=ti_key) or ""

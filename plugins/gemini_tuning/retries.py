"""When a failed task is tried again: what may pass, as late as the service asks."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy

from gemini_tuning.airflow_errors import TransientFault
from gemini_tuning.settings import retry_seconds

if TYPE_CHECKING:
    from airflow.sdk import Context

LONGEST_PAUSE = dt.timedelta(minutes=10)
QUOTA_FACTOR = 4  # a place in a quota is free when some job has ended, which takes longer than a network's trouble


class RetryWhatMayPass(RetryPolicy):
    """Retry transient faults: with the task's own backoff, later for a quota, and never before the service wants it.

    Permanent faults never come here: ``airflow_errors`` fails the task at once.
    """

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Return the decision, with a pause where the task's own is too short."""
        if not isinstance(exception, TransientFault):
            return RetryDecision.default()
        quota = exception.code == 429
        if not quota and not exception.retry_after:
            return RetryDecision.default()
        backoff = retry_seconds() * (QUOTA_FACTOR if quota else 1) * 2 ** (try_number - 1)
        asked = dt.timedelta(seconds=exception.retry_after or 0)
        reason = "the quota is used up" if quota else "the service asked for a pause"
        return RetryDecision.retry(max(asked, min(LONGEST_PAUSE, dt.timedelta(seconds=backoff))), reason)

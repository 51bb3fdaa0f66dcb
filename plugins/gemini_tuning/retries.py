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
        asked = dt.timedelta(seconds=exception.retry_after or 0)
        if exception.code == 429:
            backoff = min(LONGEST_PAUSE, dt.timedelta(seconds=QUOTA_FACTOR * retry_seconds() * 2 ** (try_number - 1)))
            return RetryDecision.retry(max(asked, backoff), "the quota is used up")
        return RetryDecision.retry(asked, "the service asked for a pause") if asked else RetryDecision.default()

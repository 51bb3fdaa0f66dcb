"""States of a Vertex AI tuning job (enum ``JobState`` of the Tuning API)."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class JobState(StrEnum):
    """The wire names. A state this release does not know yet reads as ``UNSPECIFIED``, which is not an end."""

    UNSPECIFIED = "JOB_STATE_UNSPECIFIED"
    QUEUED = "JOB_STATE_QUEUED"
    PENDING = "JOB_STATE_PENDING"
    RUNNING = "JOB_STATE_RUNNING"
    SUCCEEDED = "JOB_STATE_SUCCEEDED"
    FAILED = "JOB_STATE_FAILED"
    CANCELLING = "JOB_STATE_CANCELLING"
    CANCELLED = "JOB_STATE_CANCELLED"
    PAUSED = "JOB_STATE_PAUSED"
    EXPIRED = "JOB_STATE_EXPIRED"
    UPDATING = "JOB_STATE_UPDATING"
    PARTIALLY_SUCCEEDED = "JOB_STATE_PARTIALLY_SUCCEEDED"

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        return cls("JOB_STATE_UNSPECIFIED")  # a future state must not break a wait that has been paid for

    @property
    def ended(self) -> bool:
        """Whether the job will not change any more.

        ``PARTIALLY_SUCCEEDED`` counts as an end although Google's clients go on waiting for it.
        """
        return self in _ENDED

    @property
    def short(self) -> str:
        """The name without its prefix, such as ``RUNNING``."""
        return self.value.removeprefix("JOB_STATE_")


_ENDED = frozenset({
    JobState.SUCCEEDED,
    JobState.FAILED,
    JobState.CANCELLED,
    JobState.EXPIRED,
    JobState.PARTIALLY_SUCCEEDED,
})

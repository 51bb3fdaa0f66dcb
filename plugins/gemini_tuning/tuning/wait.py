"""One look at a tuning job decides: wait on, or stop waiting. Deferred and rescheduled waits share this decision."""

from __future__ import annotations

from enum import Enum

from gemini_tuning.errors import TuningJobFailedError
from gemini_tuning.tuning.spec import TuningJob
from gemini_tuning.tuning.states import JobState


class Look(Enum):
    """What to do after one look."""

    WAIT = "wait"
    ENDED = "ended"
    TIMED_OUT = "timed_out"


def judge(job: TuningJob, now: float, deadline: float) -> Look:
    """Return what to do. A job that ended is taken as ended even past the deadline.

    :param now: Unix time, as is ``deadline``.
    """
    if job.state.ended:
        return Look.ENDED
    return Look.TIMED_OUT if now >= deadline else Look.WAIT


def require_success(job: TuningJob) -> TuningJob:
    """Return the job if it succeeded.

    :raises TuningJobFailedError: with its state, the service's own code and message, and where to look.
    """
    if job.state is not JobState.SUCCEEDED:
        raise TuningJobFailedError(job.outcome())
    return job


def timed_out(job: TuningJob, hours: float) -> TuningJobFailedError:
    """Return the error of a wait that took too long; says what becomes of the job."""
    return TuningJobFailedError(
        f"Tuning job {job.name} has not ended after {hours:g} hours ({job.progress()}). "
        f"It was left as it is and may still be billed: look at {job.console_url}, cancel it there, or wait longer "
        "(the pipeline's 'wait.timeout_hours')."
    )

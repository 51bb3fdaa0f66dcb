"""One look at a tuning job decides: wait on, or stop waiting. Deferred and rescheduled waits share this decision."""

from __future__ import annotations

from enum import Enum, StrEnum

from gemini_tuning.dataset.reports.report import DatasetFile
from gemini_tuning.errors import TuningJobFailedError
from gemini_tuning.tuning.dropped import require_few_dropped
from gemini_tuning.tuning.spec import TuningJob
from gemini_tuning.tuning.states import JobState


class Look(Enum):
    """What to do after one look."""

    WAIT = "wait"
    ENDED = "ended"
    TIMED_OUT = "timed_out"


class OnTimeout(StrEnum):
    """What becomes of a job whose wait took too long."""

    CANCEL = "cancel"
    LEAVE = "leave"


def judge(job: TuningJob, now: float, deadline: float) -> Look:
    """Return what to do. A job that ended is taken as ended even past the deadline.

    Every state that isn't an end is waited out: QUEUED and PAUSED jobs may run yet, UPDATING ones come back, and one in
    a state that this release doesn't know has been paid for all the same.

    :param now: Unix time, as is ``deadline``.
    """
    if job.state.ended:
        return Look.ENDED
    return Look.TIMED_OUT if now >= deadline else Look.WAIT


def require_success(
    job: TuningJob, max_dropped_share: float | None = None, file: DatasetFile | None = None
) -> TuningJob:
    """Return the job if it succeeded, on enough of its data.

    :param max_dropped_share: the share of examples that the service may have left out; None = any.
    :param file: the training data as it was checked, to name the lines left out.
    :raises TuningJobFailedError: with its state, the service's own code and message, and where to look.
    """
    if job.state is not JobState.SUCCEEDED:
        raise TuningJobFailedError(job.outcome(advice(job)))
    return require_few_dropped(job, max_dropped_share, file)


def timed_out(job: TuningJob, hours: float, on_timeout: OnTimeout = OnTimeout.LEAVE) -> TuningJobFailedError:
    """Return the error of a wait that took too long; says what becomes of the job.

    :param job: as last seen; with ``CANCEL``, after its cancellation was asked for.
    """
    sentence = f"Tuning job {job.name} has not ended after {hours:g} hours"
    longer = "wait longer (the pipeline's 'wait.timeout_hours')"
    if on_timeout is OnTimeout.LEAVE:
        return TuningJobFailedError(
            f"{sentence} ({job.progress()}). It was left as it is and may still be billed: look at {job.console_url}, "
            f"cancel it there, or {longer}."
        )
    if job.state.ended:
        return TuningJobFailedError(
            f"{sentence}. It was cancelled and is {job.state.short} now; clear the task to buy it anew. "
            f"To let it finish, {longer}. See {job.console_url}"
        )
    return TuningJobFailedError(
        f"{sentence}. Its cancellation was asked for, but it is still {job.progress()} and may still be billed: "
        f"look at {job.console_url}"
    )


def advice(job: TuningJob) -> str:
    """Return what the end of a job that didn't succeed means, and what to do; one sentence, or nothing."""
    tuned = job.tuned_model
    if tuned and tuned.model and not tuned.endpoint:
        return "The training itself is done and paid for: deploy this model from the Model Registry, don't tune again."
    if job.state is JobState.PARTIALLY_SUCCEEDED:
        made = f"Its endpoint {tuned.endpoint} answers" if tuned and tuned.endpoint else "It made no endpoint"
        return f"{made}, but something it was asked for is missing: compare its checkpoints before it is used."
    if job.state is JobState.EXPIRED:
        return "The service gave it up because it took too long; no model was made. Buy it again."
    return ""

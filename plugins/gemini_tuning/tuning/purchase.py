"""Buy once: what is known about a purchase, and what to do next. Nothing here asks or tells the service anything.

A purchase is everything that is paid for under one key (``TuningJobSpec.purchase_key``). The service keeps the truth:
each of its jobs carries the key, the number of the attempt and its owner as labels. The record only remembers what
labels can't say: that a request may be under way, and what this task has already been told.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from enum import StrEnum

from pydantic import Field

from gemini_tuning.tuning.spec import (
    ATTEMPT_LABEL,
    INSTALLATION_LABEL,
    KEY_LABEL,
    OWNER_LABEL,
    TuningJob,
    TuningJobSpec,
)
from gemini_tuning.tuning.states import JobState
from gemini_tuning.values import Value


class Phase(StrEnum):
    """How far a purchase has come."""

    INTENT = "intent"  # a request may have been sent
    ASKED = "asked"  # the request is over, and its answer says nothing
    SUBMITTED = "submitted"  # the answer named a job; the second look is to come
    SETTLED = "settled"  # the second look is over


class How(StrEnum):
    """How a task came by its job."""

    CREATED = "created"
    ADOPTED = "adopted"
    REUSED = "reused"


class Action(StrEnum):
    """What to do next."""

    ADOPT = "adopt"
    REUSE = "reuse"
    REPORT = "report"
    CREATE = "create"
    WAIT_FOR_LIST = "wait_for_list"
    WAIT_FOR_END = "wait_for_end"


class Order(Value):
    """What a task wants to have.

    :param spec: the job; its labels may name the owner, ``OWNER_LABEL``. Key and attempt are added when it is bought.
    :param key: what is being bought.
    :param claim: who asks, different for each try of a task and the same for all looks of one try, such as ``"2"``.
    :param round: the same for all tries that Airflow makes by itself, another one when somebody has cleared the task.
    :param force_new: don't take a job that succeeded before this task first asked.
    """

    spec: TuningJobSpec
    key: str = Field(min_length=1)
    claim: str
    round: str = ""
    force_new: bool = False

    @property
    def owner(self) -> str | None:
        """The owner's label, if the job is to have one."""
        return self.spec.labels.get(OWNER_LABEL)

    def attempt(self, number: int) -> TuningJobSpec:
        """Return the spec of one attempt, labelled with key and number."""
        return self.spec.model_copy(
            update={"labels": {**self.spec.labels, KEY_LABEL: self.key, ATTEMPT_LABEL: str(number)}}
        )


class Patience(Value):
    """How long a job may be hidden.

    :param settle_seconds: how long a new job may be missing from the service's list.
    :param request_seconds: how long after the intent was noted, or after no answer came, the service may still act on a
        request.
    """

    settle_seconds: float = Field(default=45.0, ge=0)
    request_seconds: float = Field(default=60.0, ge=0)

    def left(self, record: PurchaseRecord, now: dt.datetime) -> float:
        """Return the seconds until a list must show what the record's request made; 0 when it must by now."""
        if record.phase is Phase.SETTLED:
            return 0.0
        whole = self.settle_seconds + (0.0 if record.phase is Phase.SUBMITTED else self.request_seconds)
        # a clock that is behind the one that wrote the record must not make the wait any longer
        return max(0.0, min(whole, whole - (now - record.at).total_seconds()))


class PurchaseRecord(Value):
    """What a task remembers of its purchase, over crashes and tries.

    :param at: when the phase began, UTC.
    :param claim: the try that wrote it.
    :param job: the full resource name, as soon as it is known.
    :param forced: the task bought with ``force_new``: jobs of this attempt and later ones are its own purchase.
    :param recovered: this claim has already bought once more for a job that others cancelled.
    :param told_in: the round in which the task was told how its job ended: the next round buys the next attempt.
    """

    key: str
    attempt: int
    phase: Phase
    at: dt.datetime
    claim: str
    job: str | None = None
    how: How = How.CREATED
    forced: bool = False
    recovered: bool = False
    told_in: str | None = None


class Decision(Value):
    """What to do next.

    :param job: the job to take, to report, or whose end to wait for.
    :param attempt: the attempt to create, or the job's.
    :param surplus: live jobs too many, to be cancelled at once whatever the action.
    :param seconds: how long to wait before the next look.
    :param recovers: the attempt replaces a job that somebody else cancelled.
    """

    action: Action
    job: TuningJob | None = None
    attempt: int = 1
    surplus: tuple[TuningJob, ...] = ()
    seconds: float = 0.0
    recovers: bool = False


def decide(
    order: Order, record: PurchaseRecord | None, jobs: Sequence[TuningJob], patience: Patience, now: dt.datetime
) -> Decision:
    """Return what to do next about an order.

    :param record: what the task remembers; one of another key (the dataset has changed) counts as none.
    :param jobs: what the service shows of this key, and the record's job even if the list doesn't show it.
    :param now: with time zone.
    """
    jobs = sorted((job for job in jobs if job.labels.get(KEY_LABEL) == order.key), key=_age)
    own = record if record and record.key == order.key else None
    live, surplus = _live_and_surplus(jobs)
    if own and (seconds := patience.left(own, now)):
        return Decision(action=Action.WAIT_FOR_LIST, attempt=own.attempt, seconds=seconds, surplus=surplus)
    if live:
        return Decision(action=Action.ADOPT, job=live, attempt=attempt_of(live), surplus=surplus)
    if done := _reusable(order, own, jobs):
        return Decision(action=Action.REUSE, job=done, attempt=attempt_of(done), surplus=surplus)
    if ending := next((job for job in jobs if job.state is JobState.CANCELLING), None):
        # a cancellation can come too late: then this job succeeds, and another one would have been paid for in vain
        return Decision(action=Action.WAIT_FOR_END, job=ending, attempt=attempt_of(ending), surplus=surplus)
    mine = _job_of(order, own, jobs)
    recovers = bool(own and mine and _recovers(order, own, mine))
    if own and mine and not recovers and _is_to_be_reported(order, own, mine):
        return Decision(action=Action.REPORT, job=mine, attempt=attempt_of(mine), surplus=surplus)
    return Decision(action=Action.CREATE, attempt=_next_attempt(own, jobs), surplus=surplus, recovers=recovers)


def is_live(job: TuningJob) -> bool:
    """Whether a job may still be waited for: it has not ended, and nobody has asked for its end.

    A job that is PAUSED, or in a state of the future, is live.
    """
    return not job.state.ended and job.state is not JobState.CANCELLING


def attempt_of(job: TuningJob) -> int:
    """Return the number of the attempt in a job's labels; 1 if there is none."""
    number = job.labels.get(ATTEMPT_LABEL, "")
    return int(number) if number.isascii() and number.isdigit() else 1


def _age(job: TuningJob) -> tuple[dt.datetime, str]:
    return job.create_time or dt.datetime.max.replace(tzinfo=dt.UTC), job.name


def _live_and_surplus(jobs: Sequence[TuningJob]) -> tuple[TuningJob | None, tuple[TuningJob, ...]]:
    """Of several live jobs the earliest is wanted, by which all who look agree.

    None is wanted whose attempt has succeeded already: it was bought at the same time as the one that succeeded.
    """
    live = [job for job in jobs if is_live(job)]
    done = {attempt_of(job) for job in jobs if job.state is JobState.SUCCEEDED}
    wanted = next((job for job in live if attempt_of(job) not in done), None)
    return wanted, tuple(job for job in live if job is not wanted)


def _reusable(order: Order, own: PurchaseRecord | None, jobs: Sequence[TuningJob]) -> TuningJob | None:
    done = [job for job in jobs if job.state is JobState.SUCCEEDED]
    if order.force_new:
        # what this task has itself bought anew is not bought anew for each of its tries
        done = [job for job in done if own and own.forced and attempt_of(job) >= own.attempt]
    remembered = next((job for job in done if own and job.name == own.job), None)
    return remembered or max(done, key=attempt_of, default=None)


def _job_of(order: Order, own: PurchaseRecord | None, jobs: Sequence[TuningJob]) -> TuningJob | None:
    """Return the job the task asked for: the one it remembers, or the one that came of a lost answer."""
    if own is None:
        return None
    if own.job:
        return next((job for job in jobs if job.name == own.job), None)
    return next((job for job in jobs if made_for(order, job) and attempt_of(job) == own.attempt), None)


def made_for(order: Order, job: TuningJob) -> bool:
    """Whether a job was created by the task that orders, in whichever try.

    Another Airflow with the same Dags has task instances of the same ids; its name on the job tells it apart.
    """
    same_airflow = job.labels.get(INSTALLATION_LABEL) == order.spec.labels.get(INSTALLATION_LABEL)
    return same_airflow and order.owner is not None and job.labels.get(OWNER_LABEL) == order.owner


def _recovers(order: Order, own: PurchaseRecord, mine: TuningJob) -> bool:
    """Whether others have cancelled a job under this try, and it may buy once more.

    A try that created its job and was alone with it takes a cancellation as meant: somebody stopped it by hand.
    """
    shared = own.how is not How.CREATED or own.phase is not Phase.SETTLED
    return mine.state is JobState.CANCELLED and own.claim == order.claim and shared and not own.recovered


def _is_to_be_reported(order: Order, own: PurchaseRecord, mine: TuningJob) -> bool:
    if is_live(mine) or mine.state is JobState.SUCCEEDED:
        return False
    if own.claim == order.claim:
        return True
    if own.told_in == order.round:
        return True  # the process that told it may have died before Airflow heard of it
    # whoever cleared the task has cancelled its job by that; any other end is told before a new job is paid for
    return mine.state is not JobState.CANCELLED and own.told_in is None


def _next_attempt(own: PurchaseRecord | None, jobs: Sequence[TuningJob]) -> int:
    following = max((attempt_of(job) for job in jobs), default=0) + 1
    if own is None:
        return following
    # an intent that came to nothing is not an attempt
    return max(following, own.attempt + (own.job is not None))

"""Cancel tuning jobs, and see what became of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from gemini_tuning.errors import GeminiTuningError, ServiceRefusedError, TransientError
from gemini_tuning.tuning.purchase import How, Order, PurchaseRecord, is_live, made_for
from gemini_tuning.tuning.service import TuningService
from gemini_tuning.tuning.spec import TuningJob
from gemini_tuning.tuning.states import JobState
from gemini_tuning.values import Value

WITHIN_SECONDS = 20.0
KILLED_SECONDS = 4.0  # a task that is marked or cleared gets SIGTERM from Airflow, and 5 s later SIGKILL
PAUSE_SECONDS = 0.5


class Cancellation(Value):
    """What became of a job that was to be cancelled; ``asked`` is false when it had ended before."""

    job: TuningJob
    asked: bool

    @property
    def too_late(self) -> bool:
        """Whether the job has come to an end of its own."""
        return self.job.state.ended and self.job.state is not JobState.CANCELLED

    def sentence(self) -> str:
        """Return what to tell about it."""
        name, state = self.job.name, self.job.state
        if not self.asked:
            return f"Tuning job {name} needed no cancelling: it had ended {state.short}."
        if state is JobState.CANCELLED:
            return f"Tuning job {name} is cancelled."
        if state.ended:
            return f"Tuning job {name} was to be cancelled, but ended {state.short} before that took effect."
        return (
            f"Tuning job {name} was asked to cancel and is still {state.short}; "
            f"the service ends it in its own time. See {self.job.console_url}"
        )


def cancel(
    service: TuningService,
    name: str,
    *,
    within_seconds: float = WITHIN_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Cancellation:
    """Cancel a job and return what became of it; may be repeated. Broken calls are repeated within the time.

    A job may still be CANCELLING when the time is over: then the service has taken the request.

    :param name: the full resource name.
    :param within_seconds: how long to ask and to look.
    :raises ServiceRefusedError: the job may not be cancelled, or there is none.
    :raises TransientError: nothing tells that the service took the request.
    """
    return cancel_all(service, [name], within_seconds=within_seconds, clock=clock, sleep=sleep)[0]


def give_up(
    service: TuningService,
    order: Order,
    record: PurchaseRecord | None,
    *,
    within_seconds: float = WITHIN_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Cancellation, ...]:
    """Cancel what a task that gives up has created, and nothing that it only adopted.

    If a request was under way, its job is looked for within the time; one that shows up later is for the reaper. Broken
    calls are repeated within the time.

    :param service: in a signal handler, one of its own: the interrupted call may hold the locks of the task's.
    :param record: what the task last remembered, ``Buyer.remembered``.
    :raises ServiceRefusedError: or ``TransientError``, from the service.
    """
    deadline = clock() + within_seconds
    known = record if record and record.key == order.key else None
    may_be_hidden = known is not None and known.job is None
    own: list[str] = []
    while True:
        try:
            own = _created(service, order, known)
            if own or not may_be_hidden or clock() >= deadline:
                break
        except TransientError:
            if clock() >= deadline:
                raise
        sleep(PAUSE_SECONDS)
    return cancel_all(service, own, within_seconds=max(0.0, deadline - clock()), clock=clock, sleep=sleep)


def _created(service: TuningService, order: Order, known: PurchaseRecord | None) -> list[str]:
    jobs = list(service.of_purchase(order.key))
    remembered = known.job if known else None
    if remembered and not any(job.name == remembered for job in jobs):
        jobs.append(service.get(remembered))
    created = remembered if known and known.how is How.CREATED else None
    return [job.name for job in jobs if is_live(job) and (made_for(order, job) or job.name == created)]


def cancel_all(
    service: TuningService,
    names: Iterable[str],
    *,
    within_seconds: float = WITHIN_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Cancellation, ...]:
    """Cancel jobs as ``cancel`` does: all are asked to end before the first is watched.

    :raises ServiceRefusedError: or ``TransientError``, as ``cancel`` does, once the others are seen to.
    """
    deadline = clock() + within_seconds
    asked = {name: _ask(service, name) for name in names}
    seen: list[Cancellation] = []
    fault: GeminiTuningError | None = None
    for name, outcome in asked.items():
        try:
            seen.append(_see_to(service, name, outcome, deadline, clock, sleep))
        except GeminiTuningError as error:
            fault = fault or error
    if fault:
        raise fault
    return tuple(seen)


def _see_to(
    service: TuningService,
    name: str,
    outcome: bool | GeminiTuningError,
    deadline: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Cancellation:
    """Look until the job has ended or the time is over; ask again where asking had failed."""
    while True:
        try:
            if isinstance(outcome, TransientError):
                outcome = _ask(service, name)
            if isinstance(outcome, GeminiTuningError):
                raise outcome
            job = service.get(name)
            if job.state.ended or clock() >= deadline:
                return Cancellation(job=job, asked=outcome)
        except TransientError:
            if clock() >= deadline:
                raise
        sleep(PAUSE_SECONDS)


def _ask(service: TuningService, name: str) -> bool | GeminiTuningError:
    """Return whether the service took the request; false when the job had ended, an error when nobody knows."""
    try:
        service.cancel(name)
    except ServiceRefusedError as refusal:
        # what the service answers for a job that has ended is not documented: its state says it
        try:
            return False if service.get(name).state.ended else refusal
        except GeminiTuningError:
            return refusal
    except TransientError as error:
        return error
    return True

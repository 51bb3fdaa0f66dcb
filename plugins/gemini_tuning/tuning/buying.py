"""Buy a tuning job once, whatever crashes, breaks off, is repeated or lags on the way.

The service takes no request id, so one purchase can't be made one request. Instead everybody who buys under a key
does the same: look; note the intent; ask once; note the name; let the list settle; look again. Whoever has asked looks
again after the time that a new job may be hidden, so of two who ask at once the later one sees both jobs. All keep the
earliest and cancel the others. A crash at any point leaves a record from which the next try goes on at the same place.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from gemini_tuning.errors import ConfigError, SubmissionUnknownError, TransientError
from gemini_tuning.tuning.cancelling import Cancellation, cancel_all
from gemini_tuning.tuning.marks import Mark, Reached, reached
from gemini_tuning.tuning.purchase import (
    Action,
    Decision,
    How,
    Order,
    Patience,
    Phase,
    PurchaseRecord,
    attempt_of,
    decide,
    is_live,
    made_for,
)
from gemini_tuning.tuning.service import TuningService
from gemini_tuning.tuning.spec import TuningJob
from gemini_tuning.tuning.states import JobState
from gemini_tuning.tuning.wait import advice
from gemini_tuning.values import Value

RECORD_NAME = "gemini_tuning_purchase"
FRESH_SECONDS = 10.0
NOTES = 3
REQUESTS = 2  # of one call; after that the task's own retries go on, further apart
_LOG = logging.getLogger(__name__)


class Records(Protocol):
    """Where a task remembers JSON under a name; it survives the task's process and its tries."""

    def get(self, name: str) -> Any:
        """Return what was set last, or None."""

    def set(self, name: str, value: dict[str, Any]) -> None:
        """Remember; when this returns, a crash forgets nothing."""


class Purchase(Value):
    """The job a task has, and how it came by it.

    :param job: as last seen. Not ended: wait for it, then buy again unless it has succeeded. SUCCEEDED: take it. Any
        other end: the task's own job came to that, and nothing was bought in its place.
    :param own: this task created the job, in this try or an earlier one.
    :param recovered: the job was bought in place of one that others cancelled.
    :param cancelled: jobs found too many, and what became of them.
    :param news: false when the same try has been told the same before.
    """

    job: TuningJob
    how: How
    attempt: int
    own: bool
    recovered: bool = False
    cancelled: tuple[Cancellation, ...] = ()
    news: bool = True

    def in_short(self) -> str:
        """Return who has paid, for a summary."""
        if self.how is How.REUSED:
            return f"none: already tuned{_on(self.job.end_time or self.job.create_time)}, not paid for again"
        if not self.own:
            return "none: another run had bought the job, not paid for again"
        return f"attempt {self.attempt}{', in place of a job that somebody else cancelled' if self.recovered else ''}"

    def sentence(self) -> str:
        """Return what to tell about the purchase."""
        return " ".join([self._about_the_job(), *(cancellation.sentence() for cancellation in self.cancelled)])

    def _about_the_job(self) -> str:
        name, state = self.job.name, self.job.state
        if state is JobState.CANCELLING:
            return f"Tuning job {name} is being cancelled; nothing is bought before it has ended."
        if state.ended and state is not JobState.SUCCEEDED:
            ending = self.job.outcome(advice(self.job))
            return f"{ending} Nothing was bought in its place; clear the task to buy attempt {self.attempt + 1}."
        if self.how is How.CREATED:
            why = " in place of a job that somebody else cancelled" if self.recovered else ""
            return f"Bought tuning job {name} (attempt {self.attempt}){why}. See {self.job.console_url}"
        if state is JobState.SUCCEEDED:
            return (
                f"Already tuned{_on(self.job.end_time or self.job.create_time)} by {name}: not paid for again. "
                "Set 'force_new' to buy it anew."
            )
        whose = "of an earlier try of this task" if self.own else "that another run bought"
        return f"Waiting for tuning job {name} ({state.short}) {whose}: not paid for again. See {self.job.console_url}"


class Buyer:
    """Buys for one task.

    :param service: of the project and location that the order's key was made for.
    :param records: the task's own; another task's would take its purchase for this one's.
    :param clock: the time, with time zone.
    :param sleep: waits so many seconds.
    :param reached: told of each point at which the process may die.
    :param check: called before each request; raises when what is to be bought is no longer what was checked.
    """

    def __init__(
        self,
        service: TuningService,
        records: Records,
        patience: Patience | None = None,
        *,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        sleep: Callable[[float], None] = time.sleep,
        reached: Reached = reached,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._service = service
        self._records = records
        self._patience = patience or Patience()
        self._clock = clock
        self._sleep = sleep
        self._reached = reached
        self._check = check
        self.remembered: PurchaseRecord | None = None
        """The record as last read or written, for a signal handler, which can't ask the store."""

    def buy(self, order: Order) -> Purchase:
        """Return the one job of an order: found, or bought if there is none. Takes the settle time when it buys.

        Call it again whenever the job has come back in another state than SUCCEEDED: it returns the job to wait for
        in its place, or the same one, with which the task then has to fail.

        :raises ServiceRefusedError: the service refused the request; nothing was bought by it.
        :raises TransientError: nobody can tell yet, or the service could not be asked: the next try goes on here.
        :raises ConfigError: the record can't be read.
        """
        self._drop_what_the_task_bought_before(order)
        cancelled: list[Cancellation] = []
        requests = 0
        unclear: SubmissionUnknownError | None = None
        while True:
            self._reached(Mark.BEFORE_LOOK)
            record = self._record()
            asked_at = self._clock()  # an answer shows what was there when it was asked for, however late it comes
            decision = decide(order, record, self._look(order, record), self._patience, asked_at)
            cancelled += self._cancel(decision.surplus, "One tuning job too many.")
            if decision.action is Action.WAIT_FOR_LIST:
                self._settle(decision.seconds)
            elif decision.action is Action.CREATE:
                if requests == REQUESTS:
                    raise TransientError(
                        f"{requests} requests for the tuning job had no clear answer, and no job came of them; "
                        f"the next try looks again before it asks. The last one: {unclear}"
                    ) from unclear
                requests += 1
                unclear = self._ask(order, decision, record)
            elif decision.action is Action.WAIT_FOR_END:
                return self._ending(order, decision, tuple(cancelled))
            else:
                return self._close(order, decision, record, tuple(cancelled))

    def _look(self, order: Order, record: PurchaseRecord | None) -> list[TuningJob]:
        jobs = list(self._service.of_purchase(order.key))
        hidden = record and record.key == order.key and record.job
        if hidden and not any(job.name == hidden for job in jobs):
            jobs.append(self._service.get(hidden))
        return jobs

    def _settle(self, seconds: float) -> None:
        _LOG.info("Looking again in %.0f s, when the service's list must show what was asked for.", seconds)
        self._reached(Mark.BEFORE_SETTLE)
        self._sleep(seconds)
        self._reached(Mark.AFTER_SETTLE)

    def _ask(self, order: Order, decision: Decision, before: PurchaseRecord | None) -> SubmissionUnknownError | None:
        """Send one request and note what is known of it; return what makes it unclear."""
        self._check()
        again = before is not None and before.key == order.key and before.claim == order.claim and before.recovered
        intent = PurchaseRecord(
            key=order.key,
            attempt=decision.attempt,
            phase=Phase.INTENT,
            at=self._clock(),
            claim=order.claim,
            forced=order.force_new,
            recovered=decision.recovers or again,
        )
        self._reached(Mark.BEFORE_INTENT)
        intent = self._note(intent)
        self._reached(Mark.AFTER_INTENT)
        spec = order.attempt(decision.attempt)
        self._reached(Mark.BEFORE_REQUEST)
        try:
            job = self._service.create(spec)
        except SubmissionUnknownError as error:
            self._reached(Mark.AFTER_REQUEST)
            self._remember(intent.model_copy(update={"phase": Phase.ASKED, "at": self._clock()}))
            _LOG.warning("%s", error)
            return error
        self._reached(Mark.AFTER_REQUEST)
        submitted = intent.model_copy(update={"phase": Phase.SUBMITTED, "at": self._clock(), "job": job.name})
        self._reached(Mark.BEFORE_NAME)
        self._remember(submitted)
        self._reached(Mark.AFTER_NAME)
        return None

    def _note(self, intent: PurchaseRecord) -> PurchaseRecord:
        """Remember the intent so that its time is the request's, however slowly the store answers."""
        for _ in range(NOTES):
            self._remember(intent)
            now = self._clock()
            if (now - intent.at).total_seconds() <= FRESH_SECONDS:
                return intent
            intent = intent.model_copy(update={"at": now})
        raise TransientError(
            f"Airflow took longer than {FRESH_SECONDS:g} s to note what is to be bought, {NOTES} times; "
            "nothing was asked for. Look at its API server, and try again."
        )

    def _ending(self, order: Order, decision: Decision, cancelled: tuple[Cancellation, ...]) -> Purchase:
        """Return a job whose cancellation is under way; the record stays what it is, as nothing is decided yet."""
        job = decision.job
        if job is None:
            raise ValueError(f"decision {decision.action} names no job")
        own = made_for(order, job)
        return Purchase(job=job, how=How.ADOPTED, attempt=decision.attempt, own=own, cancelled=cancelled)

    def _close(
        self, order: Order, decision: Decision, before: PurchaseRecord | None, cancelled: tuple[Cancellation, ...]
    ) -> Purchase:
        job = decision.job
        if job is None:
            raise ValueError(f"decision {decision.action} names no job")
        same = before if before and before.key == order.key and before.claim == order.claim else None
        record = PurchaseRecord(
            key=order.key,
            attempt=attempt_of(job),
            phase=Phase.SETTLED,
            at=self._clock(),
            claim=order.claim,
            job=job.name,
            how=_how(order, decision, same),
            forced=order.force_new,
            recovered=same is not None and same.recovered,
            told_in=order.round if decision.action is Action.REPORT and job.state.ended else None,
        )
        news = before is None or before.model_copy(update={"at": record.at}) != record
        if news:
            self._reached(Mark.BEFORE_SETTLED)
            self._remember(record)
            self._reached(Mark.AFTER_SETTLED)
        return Purchase(
            job=job,
            how=record.how,
            attempt=record.attempt,
            own=record.how is How.CREATED or made_for(order, job),
            recovered=record.recovered,
            cancelled=cancelled,
            news=news,
        )

    def _drop_what_the_task_bought_before(self, order: Order) -> None:
        """Cancel what this very task created under another key: its dataset or settings have changed since."""
        record = self._record()
        if record is None or record.key == order.key or order.owner is None:
            return
        if seconds := self._patience.left(record, self._clock()):
            self._settle(seconds)
        old = tuple(job for job in self._service.of_purchase(record.key) if is_live(job) and made_for(order, job))
        self._cancel(old, "What is to be bought has changed.")

    def _cancel(self, jobs: tuple[TuningJob, ...], why: str) -> tuple[Cancellation, ...]:
        if not jobs:
            return ()
        self._reached(Mark.BEFORE_CANCEL)
        done = cancel_all(self._service, [job.name for job in jobs], sleep=self._sleep)
        self._reached(Mark.AFTER_CANCEL)
        for cancellation in done:
            _LOG.warning("%s %s", why, cancellation.sentence())
        return done

    def _record(self) -> PurchaseRecord | None:
        document = self._records.get(RECORD_NAME)
        if document is None:
            return None
        try:
            self.remembered = PurchaseRecord.from_json(document)
        except ConfigError as error:
            raise ConfigError(
                f"What this task remembers of its purchase can't be read: {error} It may have been written by another "
                f"version. Delete the key {RECORD_NAME!r} in the task's Storage tab and clear the task: a job that was "
                "bought is found by its labels."
            ) from None
        return self.remembered

    def _remember(self, record: PurchaseRecord) -> None:
        self.remembered = record
        self._records.set(RECORD_NAME, record.to_json())


def _how(order: Order, decision: Decision, same: PurchaseRecord | None) -> How:
    """Return how the job was come by, as this try sees it from now on."""
    job = decision.job
    if same and job and same.job == job.name:
        return same.how
    if same and job and same.job is None and made_for(order, job) and attempt_of(job) == same.attempt:
        return How.CREATED  # the answer was lost, the job was not
    return How.REUSED if decision.action is Action.REUSE else How.ADOPTED


def _on(day: dt.datetime | None) -> str:
    return f" on {day.day} {day:%b %Y}" if day else ""

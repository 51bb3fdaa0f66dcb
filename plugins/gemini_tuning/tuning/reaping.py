"""Cancel the tuning jobs that nobody wants any more, and say of every job what became of it and why."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from gemini_tuning.errors import GeminiTuningError, ServiceRefusedError, TransientError
from gemini_tuning.tuning.cancelling import Cancellation, cancel
from gemini_tuning.tuning.purchase import is_live
from gemini_tuning.tuning.schedule import LIVE_FILTER, OURS_FILTER
from gemini_tuning.tuning.service import TuningService
from gemini_tuning.tuning.spec import KEY_LABEL, OWNER_LABEL, PIPELINE_LABEL, TuningJob
from gemini_tuning.tuning.unwanted import Facts, Fate, Instance, Task, Terms, Verdict, judge, verdict
from gemini_tuning.values import Value


class Place(Value):
    """Where tuning jobs are looked for; a project of None is the connection's."""

    gcp_conn_id: str = "google_cloud_default"
    project: str | None = None
    location: str = "us-central1"

    def __str__(self) -> str:
        return f"{self.location} of {self.project or 'the project'} by connection {self.gcp_conn_id}"


class TaskInstances(Protocol):
    """What Airflow knows. Each call raises ``TransientError`` when it can't be asked."""

    def of(self, task: Task) -> Iterable[Instance]:
        """Return all instances of a task, of all runs; none if there is no such task."""

    def held(self, instance: Instance) -> str | None:
        """Return the job that an instance says it has."""

    def left(self, instance: Instance) -> str | None:
        """Return the job that an instance has said to be left running."""


class Trouble(Value):
    """What could not be seen to; ``passes`` when a later try may."""

    message: str
    passes: bool


class ReapReport(Value):
    """What was found, and what was done about it."""

    dry_run: bool
    places: tuple[Place, ...]
    verdicts: tuple[Verdict, ...] = ()
    troubles: tuple[Trouble, ...] = ()

    def summary(self) -> str:
        """Return one sentence about all of it."""
        fates = Counter(verdict.fate for verdict in self.verdicts)
        counts = ", ".join(f"{fates[fate]} {fate.value}" for fate in Fate if fates[fate])
        found = f"{len(self.verdicts)} live tuning job{'s' * (len(self.verdicts) != 1)} with our labels"
        where = f"{len(self.places)} place{'s' * (len(self.places) != 1)}"
        trouble = f" {len(self.troubles)} could not be seen to." if self.troubles else ""
        dry = " Dry run: nothing was touched." if self.dry_run else ""
        return f"{found} in {where}{f': {counts}' if counts else ''}.{trouble}{dry}"

    def require_no_trouble(self) -> None:
        """Return when everything was seen to.

        :raises TransientError: some trouble may pass.
        :raises ServiceRefusedError: no trouble will.
        """
        if self.troubles:
            first = sorted(self.troubles, key=lambda trouble: not trouble.passes)[0]
            error = TransientError if first.passes else ServiceRefusedError
            raise error(f"{self.summary()} {first.message}")


class _Found(NamedTuple):
    place: Place
    job: TuningJob


class Reaper:
    """Looks for unwanted jobs, and cancels them unless the terms say that it is a dry run.

    :param tasks: those whose instances are asked for; the task of a pipeline that is gone is found by itself.
    :param connect: returns the service of a place.
    :param tell: told of each verdict as soon as it is reached.
    :param clock: the time, with time zone.
    """

    def __init__(
        self,
        airflow: TaskInstances,
        tasks: Iterable[Task],
        terms: Terms,
        connect: Callable[[Place], TuningService],
        *,
        tell: Callable[[Verdict], None] = lambda verdict: None,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._airflow = airflow
        self._tasks = tuple(tasks)
        self._terms = terms
        self._connect = connect
        self._tell = tell
        self._clock = clock
        self._services: dict[Place, TuningService] = {}
        self._troubles: list[Trouble] = []

    def reap(self, places: Iterable[Place]) -> ReapReport:
        """Return what became of every live job with our labels; trouble with one keeps nothing from the others.

        :raises TransientError: Airflow could not be asked; nothing was done.
        """
        places = tuple(dict.fromkeys(places))
        self._troubles = []
        found = self._found(places)
        verdicts = []
        if found:
            tasks = self._asked(found)
            facts = self._facts(tasks)  # read after the jobs: whoever bought one is there by now
            for one in found:
                reached = self._see_to(one, tasks, facts)
                self._tell(reached)
                verdicts.append(reached)
        return ReapReport(
            dry_run=self._terms.dry_run, places=places, verdicts=tuple(verdicts), troubles=tuple(self._troubles)
        )

    def _found(self, places: Iterable[Place]) -> list[_Found]:
        """Return the live jobs, each once, however many connections lead to it."""
        found: dict[str, _Found] = {}
        for place in places:
            try:
                service = self._services[place] = self._connect(place)
                for page in service.pages(f"{OURS_FILTER} AND {LIVE_FILTER}"):
                    ours = (job for job in page if KEY_LABEL in job.labels and is_live(job))
                    found |= {job.name: _Found(place, job) for job in ours}
            except GeminiTuningError as error:
                self._note(f"{place}: {error}", error)
        return list(found.values())

    def _asked(self, found: Iterable[_Found]) -> frozenset[Task]:
        """Return the tasks to ask for, those of pipelines whose files are gone among them."""
        pipelines = {job.labels[PIPELINE_LABEL] for _, job in found if PIPELINE_LABEL in job.labels}
        return frozenset(self._tasks) | {Task(dag_id=f"tune_{pipeline}") for pipeline in pipelines}

    def _see_to(self, found: _Found, tasks: frozenset[Task], facts: Facts) -> Verdict:
        first = judge(found.job, facts, self._terms, self._clock())
        if first.fate is not Fate.UNWANTED:
            return first
        try:
            service = self._services[found.place]
            job = found.job if self._terms.dry_run else service.get(found.job.name)
            again = judge(job, self._closer_facts(tasks, job), self._terms, self._clock())
            if again.fate is not Fate.UNWANTED or self._terms.dry_run:
                return again
            return _outcome(again, cancel(service, job.name))
        except GeminiTuningError as error:
            self._note(str(error), error)
            return verdict(found.job, Fate.LEFT, f"{first.why} But: {error}")

    def _facts(self, tasks: frozenset[Task]) -> Facts:
        """Ask for states only: as if nobody held any job, since each answer to that is a request of its own."""
        return Facts.of(tasks, (instance._replace(holds="") for instance in self._instances(tasks)))

    def _closer_facts(self, tasks: frozenset[Task], job: TuningJob) -> Facts:
        owner = job.labels.get(OWNER_LABEL)
        closer = []
        for instance in self._instances(tasks):
            if not instance.ended:
                closer.append(instance._replace(holds=self._airflow.held(instance)))
            elif instance.owner == owner:
                closer.append(instance._replace(leaves=self._airflow.left(instance)))
            else:
                closer.append(instance)
        return Facts.of(tasks, closer)

    def _instances(self, tasks: frozenset[Task]) -> Iterable[Instance]:
        for task in tasks:
            yield from self._airflow.of(task)

    def _note(self, message: str, error: GeminiTuningError) -> None:
        self._troubles.append(Trouble(message=message, passes=isinstance(error, TransientError)))


def _outcome(unwanted: Verdict, done: Cancellation) -> Verdict:
    """Return what became of a job that was cancelled; one that is still CANCELLING ends in the service's own time."""
    fate = Fate.LEFT if done.too_late or not done.asked else Fate.CANCELLED
    return unwanted.model_copy(
        update={"fate": fate, "state": done.job.state_words, "why": f"{unwanted.why} {done.sentence()}"}
    )

"""Which tuning jobs nobody wants any more: pure decisions over what the service and Airflow say.

A job is unwanted when the task instance that bought it has ended or is gone, and no other has taken it over. Only what
is proved counts: whatever isn't known leaves a job alone, as leaving it costs less than taking it from somebody.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Self

from pydantic import Field

from gemini_tuning.errors import ConfigError
from gemini_tuning.settings import INSTALLATION_VARIABLE
from gemini_tuning.tuning.purchase import is_live
from gemini_tuning.tuning.spec import (
    INSTALLATION_LABEL,
    KEY_LABEL,
    OWNER_LABEL,
    PIPELINE_LABEL,
    RUN_LABEL,
    TuningJob,
    owner_of,
    task_of,
)
from gemini_tuning.values import Value

ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
NOT_STARTED = frozenset({None, "scheduled", "queued"})


class Task(Value):
    """A task that buys, or waits for, tuning jobs."""

    dag_id: str
    task_id: str = "tune"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``dag_id`` or ``dag_id:task_id``.

        :raises ConfigError: when it is neither.
        """
        match = re.fullmatch(r"([\w.-]+)(?::([\w.-]+))?", text)
        if not match:
            raise ConfigError(f"{text!r} is not a task; write dag_id (for its task 'tune') or dag_id:task_id.")
        return cls(dag_id=match[1], task_id=match[2] or "tune")


class Instance(NamedTuple):
    """A task instance as Airflow knows it.

    :param state: Airflow's word; None = not scheduled yet.
    :param holds: the job it says it has; None = it says none.
    :param leaves: the job it has said to be left running when nobody waits for it any more.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    state: str | None = None
    holds: str | None = None
    leaves: str | None = None

    @property
    def owner(self) -> str:
        """The owner's label of the jobs it bought."""
        return owner_of(self.dag_id, self.run_id, self.task_id, self.map_index)

    @property
    def ended(self) -> bool:
        """Whether it wants nothing any more; a state that this release doesn't know is no end."""
        return self.state in ENDED

    def __str__(self) -> str:
        mapped = f"[{self.map_index}]" if self.map_index >= 0 else ""
        return f"{self.task_id}{mapped} of run {self.run_id} of Dag {self.dag_id}"


class Facts(NamedTuple):
    """What Airflow says.

    :param asked: ``task_of`` of every task whose instances are known.
    :param owners: all their instances by ``owner``.
    """

    asked: frozenset[str]
    owners: Mapping[str, Instance]

    @classmethod
    def of(cls, tasks: Iterable[Task], instances: Iterable[Instance]) -> Self:
        """Return the facts of these tasks, all instances of which are given."""
        asked = frozenset(task_of(task.dag_id, task.task_id) for task in tasks)
        return cls(asked, {instance.owner: instance for instance in instances})


class Terms(Value):
    """Whose jobs may be cancelled, and from which age on.

    :param installation: the name of this Airflow on its jobs; None = it has none, and nothing is proved to be its own.
    :param dry_run: none is cancelled, however unwanted.
    """

    installation: str | None
    grace_minutes: float = Field(default=15.0, ge=0, strict=True)
    dry_run: bool = Field(default=True, strict=True)


class Fate(StrEnum):
    """What becomes of a job."""

    CANCELLED = "cancelled"
    UNWANTED = "would be cancelled"
    WANTED = "wanted"
    LEFT = "left"


class Verdict(Value):
    """One job's fate, and why."""

    job: str
    state: str
    pipeline: str | None = None
    run: str | None = None
    fate: Fate
    why: str

    def sentence(self) -> str:
        """Return one line for the log."""
        where = [self.state, *(f"{name} {word}" for name, word in self._of() if word)]
        return f"{self.job} ({', '.join(where)}) {self.fate.value}: {self.why}"

    def _of(self) -> Sequence[tuple[str, str | None]]:
        return ("pipeline", self.pipeline), ("run", self.run)


def verdict(job: TuningJob, fate: Fate, why: str) -> Verdict:
    """Return the verdict on a job."""
    labels = job.labels
    return Verdict(
        job=job.name,
        state=job.state_words,
        pipeline=labels.get(PIPELINE_LABEL),
        run=labels.get(RUN_LABEL),
        fate=fate,
        why=why,
    )


def judge(job: TuningJob, facts: Facts, terms: Terms, now: dt.datetime) -> Verdict:
    """Return whether a job is ``UNWANTED``, ``WANTED``, or ``LEFT`` for want of proof.

    What more instances hold never makes a job unwanted that wasn't without them.

    :param facts: read after the job.
    :param now: with time zone.
    """
    if doubt := _doubt(job, facts, terms, now):
        return verdict(job, Fate.LEFT, doubt)
    owner = facts.owners.get(job.labels[OWNER_LABEL])
    if owner and not owner.ended:
        return verdict(job, Fate.WANTED, f"its task instance, {owner}, is {_words(owner)}.")
    if owner and owner.leaves and same_job(owner.leaves, job.name):
        return verdict(job, Fate.WANTED, f"its task instance, {owner}, left it running on purpose.")
    undecided = None
    for other in facts.owners.values():
        if other.ended:
            continue
        if other.holds is None:
            # one that hasn't begun will look first, and see that the job is cancelled
            undecided = undecided or (None if other.state in NOT_STARTED else other)
        elif same_job(other.holds, job.name):
            return verdict(job, Fate.WANTED, f"{other} ({_words(other)}) waits for it.")
    if undecided:
        return verdict(
            job,
            Fate.LEFT,
            f"{undecided} ({_words(undecided)}) hasn't said which job it has, and may be taking this one over; "
            "it is judged again next time.",
        )
    if owner:
        return verdict(job, Fate.UNWANTED, f"its task instance, {owner}, is {_words(owner)}.")
    return verdict(job, Fate.UNWANTED, "the task instance that bought it exists no more.")


def same_job(one: str, other: str) -> bool:
    """Whether two resource names are of one job: the project may be spelt as its id or its number."""
    return one.partition("/locations/")[2] == other.partition("/locations/")[2]


def _doubt(job: TuningJob, facts: Facts, terms: Terms, now: dt.datetime) -> str | None:
    """Return why a job must be left alone whatever its task instance does, or None."""
    if not is_live(job):
        return "nothing is left to cancel."
    if KEY_LABEL not in job.labels or OWNER_LABEL not in job.labels:
        return f"it lacks the label {KEY_LABEL if KEY_LABEL not in job.labels else OWNER_LABEL}."
    if terms.installation is None:
        return f"this Airflow has no name that would prove the job to be its own; set {INSTALLATION_VARIABLE}."
    installation = job.labels.get(INSTALLATION_LABEL)
    if installation != terms.installation:
        return f"it belongs to the installation {installation!r}." if installation else "it names no installation."
    owner = job.labels[OWNER_LABEL]
    if owner not in facts.owners and owner.partition("-")[0] not in facts.asked:
        return "the Dag that bought it was not asked; name it to the reaper."
    if job.create_time is None:
        return "the service doesn't say how old it is."
    age = (now - job.create_time).total_seconds() / 60
    if age < terms.grace_minutes:
        return f"it is {max(0, int(age))} min old; {terms.grace_minutes:g} min are given to each."
    return None


def _words(instance: Instance) -> str:
    return instance.state or "to be scheduled"

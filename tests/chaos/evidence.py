"""What a chaos run leaves behind, as plain values: jobs, runs, and everything that was done to them."""

from __future__ import annotations

from dataclasses import dataclass, field

from gemini_tuning.tuning.states import JobState


@dataclass(frozen=True)
class JobLine:
    """A job of the ledger; times are Unix time.

    :param run: the run whose task bought it, as on its label.
    :param stopped_at: when the service took the first request to cancel it.
    :param ended_at: None = it goes on.
    """

    name: str
    key: str
    attempt: int
    run: str
    state: JobState
    created_at: float
    stopped_at: float | None = None
    ended_at: float | None = None

    @property
    def live_until(self) -> float:
        """When it was asked to end, or ended by itself; infinite while it is still wanted by somebody."""
        return min(self.stopped_at or float("inf"), self.ended_at or float("inf"))


@dataclass(frozen=True)
class Strike:
    """Something that was done to a run, or to the requests made for it.

    :param user: it was a user's act.
    """

    at: float
    what: str
    user: bool = False


@dataclass(frozen=True)
class RunLine:
    """A Dag run at the end.

    :param state: Airflow's word, or ``deleted``.
    :param begun_at: Unix time, as is ``ended_at``.
    :param tune: the state of its task that tunes.
    :param tries: of that task; ``allowed``: how many it may have.
    :param result: the job of the task's result.
    :param last_job: the job it remembers, and how it came by it.
    :param recovered: it remembers to have bought that one in place of another.
    :param others: tasks that failed besides ``tune``, each with its tries and those it may have.
    :param strikes: in the order of time.
    :param log: the last lines of the log of its task that tunes.
    """

    run_id: str
    dag_id: str
    key: str
    state: str
    begun_at: float
    ended_at: float | None = None
    force_new: bool = False
    tune: str | None = None
    tries: int = 1
    allowed: int = 6
    result: str | None = None
    last_job: str | None = None
    how: str | None = None
    recovered: bool = False
    others: tuple[tuple[str, int, int], ...] = ()
    strikes: tuple[Strike, ...] = ()
    log: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """All of it.

    :param meant: names of jobs that the plan, or a hand, let end other than SUCCEEDED.
    """

    jobs: tuple[JobLine, ...]
    runs: tuple[RunLine, ...]
    meant: frozenset[str] = field(default_factory=frozenset)

"""What a chaos run is guilty of: a pure comparison of the service's ledger with what Airflow says.

**Paid twice** is a purchase (one key) of which

- a job was bought under a key that no run buys, as another name for the same; or
- two jobs SUCCEEDED, unless each beyond the first was bought by a run with ``force_new`` of its own; or
- two jobs were live at once for longer than ``BOUND_SECONDS``: settle and request time, in which the second may be
  hidden, and the time for one look and one cancellation. Live is a job until the service has taken a request to cancel
  it, or it has ended. The time starts again, with ``BACK_SECONDS`` more, at each strike against a run of that key: who
  was killed, or whose request was broken, looks again only once it is back.

The second of two such jobs within the bound is *surplus*: reported with how long it lived, and no violation.

**Left running** is a job that has not ended when all runs are over and the reaper has been.

**Green by mistake** is a run that succeeded, without a user having said so, though its result is no job of its key that
SUCCEEDED.

**Lost** is a run that neither succeeded nor failed, or failed for no good reason. Good reasons are:

- a user marked the run or its task, or marked a task success whose result the next one then misses;
- the job it last had ended badly, as the plan or somebody's hand had meant: FAILED, EXPIRED or PARTIALLY_SUCCEEDED; or
  CANCELLED, if the run had bought the job itself or had already recovered from one such cancellation. Who only waited
  for it has to recover;
- a task used up its tries, and at least as many strikes hit the run.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from tests.chaos.evidence import Evidence, JobLine, RunLine
from tests.chaos.plan import REQUEST_SECONDS, SETTLE_SECONDS

from gemini_tuning.tuning.cancelling import WITHIN_SECONDS
from gemini_tuning.tuning.states import JobState

BOUND_SECONDS = SETTLE_SECONDS + REQUEST_SECONDS + WITHIN_SECONDS
BACK_SECONDS = 90.0  # a task whose worker has died is noticed by a minute without its heartbeat


class Wrong(StrEnum):
    """The kinds of violation."""

    PAID_TWICE = "purchases paid twice"
    LEFT_RUNNING = "jobs left running that nobody wants"
    GREEN = "runs green whose job failed"
    LOST = "runs lost"


@dataclass(frozen=True)
class Violation:
    """One thing that must not happen.

    :param run_id: None = it is about all runs of the key.
    """

    wrong: Wrong
    key: str
    why: str
    run_id: str | None = None


@dataclass(frozen=True)
class Surplus:
    """A job that was bought beside a live one, and for how long both lived."""

    job: JobLine
    beside: JobLine
    seconds: float


@dataclass(frozen=True)
class Verdict:
    """The outcome."""

    violations: tuple[Violation, ...]
    surplus: tuple[Surplus, ...]

    def of(self, wrong: Wrong) -> tuple[Violation, ...]:
        """Return the violations of one kind."""
        return tuple(one for one in self.violations if one.wrong is wrong)


def judge(evidence: Evidence) -> Verdict:
    """Return everything that went wrong."""
    jobs: defaultdict[str, list[JobLine]] = defaultdict(list)
    runs: defaultdict[str, list[RunLine]] = defaultdict(list)
    for job in sorted(evidence.jobs, key=lambda job: job.created_at):
        jobs[job.key].append(job)
    for run in evidence.runs:
        runs[run.key].append(run)
    wanted = {run.key for run in evidence.runs}
    surplus = tuple(pair for key in jobs for pair in _surplus(jobs[key]))
    violations = [
        *(_of_no_run(job) for job in evidence.jobs if job.key not in wanted),
        *(one for key in jobs for one in _succeeded_twice(key, jobs[key], runs[key])),
        *(one for pair in surplus for one in _live_for_too_long(pair, runs[pair.job.key])),
        *(_left(job) for job in evidence.jobs if not job.state.ended),
        *(one for run in evidence.runs for one in _green_by_mistake(run, jobs[run.key])),
        *(one for run in evidence.runs for one in _lost(run, evidence)),
    ]
    return Verdict(tuple(violations), surplus)


def _of_no_run(job: JobLine) -> Violation:
    return Violation(Wrong.PAID_TWICE, job.key, f"{_id(job)} of run {job.run} has a key that no run buys", job.run)


def _succeeded_twice(key: str, jobs: Iterable[JobLine], runs: Iterable[RunLine]) -> Iterator[Violation]:
    forced = [run.run_id for run in runs if run.force_new]
    succeeded = [job for job in jobs if job.state is JobState.SUCCEEDED]
    for job in succeeded[1:]:
        if job.run in forced:
            forced.remove(job.run)
        else:
            names = ", ".join(_id(one) for one in succeeded)
            yield Violation(Wrong.PAID_TWICE, key, f"jobs {names} all SUCCEEDED; nobody had forced {_id(job)}")


def _surplus(jobs: list[JobLine]) -> Iterator[Surplus]:
    for first, second in itertools.combinations(jobs, 2):
        both = min(first.live_until, second.live_until) - second.created_at
        if both > 0:
            yield Surplus(second, first, both)


def _live_for_too_long(pair: Surplus, runs: Iterable[RunLine]) -> Iterator[Violation]:
    began, ended = pair.job.created_at, pair.job.created_at + pair.seconds
    allowed = began + BOUND_SECONDS
    # a strike counts from before the job on: a task may have been killed with its request under way
    for strike in sorted((one for run in runs for one in run.strikes), key=lambda strike: strike.at):
        if began - BACK_SECONDS <= strike.at <= min(ended, allowed):
            allowed = max(allowed, strike.at + BOUND_SECONDS + BACK_SECONDS)
    if ended > allowed:
        yield Violation(
            Wrong.PAID_TWICE,
            pair.job.key,
            f"{_id(pair.job)} and {_id(pair.beside)} were both live for {pair.seconds:.1f} s, "
            f"{ended - allowed:.1f} s longer than the bound",
        )


def _left(job: JobLine) -> Violation:
    return Violation(Wrong.LEFT_RUNNING, job.key, f"{_id(job)} of run {job.run} is still {job.state.short}", job.run)


def _green_by_mistake(run: RunLine, jobs: Iterable[JobLine]) -> Iterator[Violation]:
    if run.state != "success" or any(strike.user and "success" in strike.what for strike in run.strikes):
        return
    job = next((job for job in jobs if _number(job.name) == _number(run.result or "")), None)
    if job is None:
        yield Violation(Wrong.GREEN, run.key, f"its result is {run.result}, no job of its key", run.run_id)
    elif job.state is not JobState.SUCCEEDED:
        yield Violation(Wrong.GREEN, run.key, f"its job {_id(job)} ended {job.state.short}", run.run_id)


def _lost(run: RunLine, evidence: Evidence) -> Iterator[Violation]:
    if run.state in {"success", "deleted"}:
        return
    if run.state != "failed":
        yield Violation(Wrong.LOST, run.key, f"it is still {run.state} (tune: {run.tune})", run.run_id)
    elif not _may_fail(run, evidence):
        yield Violation(Wrong.LOST, run.key, f"it failed for no good reason (tune: {run.tune})", run.run_id)


def _may_fail(run: RunLine, evidence: Evidence) -> bool:
    if any(strike.user and "clear" not in strike.what for strike in run.strikes):
        return True
    used_up = [tries for _, tries, allowed in run.others if tries >= allowed]
    if run.tune == "failed" and run.tries >= run.allowed:
        used_up.append(run.tries)
    if any(len(run.strikes) >= tries for tries in used_up):
        return True
    job = next((job for job in evidence.jobs if _number(job.name) == _number(run.last_job or "")), None)
    if run.tune != "failed" or job is None or job.name not in evidence.meant:
        return False
    if job.state is JobState.CANCELLED:
        return run.how == "created" or run.recovered
    return job.state.ended and job.state is not JobState.SUCCEEDED


def _number(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _id(job: JobLine) -> str:
    return f"…{_number(job.name)[-6:]} (attempt {job.attempt}, {job.state.short})"

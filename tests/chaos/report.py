"""Tells what a chaos run did and what it found."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator

from tests.chaos.evidence import Evidence, JobLine, RunLine
from tests.chaos.verdict import Verdict, Violation, Wrong


def table(verdict: Verdict, evidence: Evidence, counts: Counter[str], figures: dict[str, str]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield "Injected"
    for what, times in sorted(counts.items()):
        yield f"  {times:5d}  {what}"
    yield "Figures"
    states = Counter(run.state for run in evidence.runs)
    yield f"  runs: {len(evidence.runs)} ({', '.join(f'{n} {state}' for state, n in states.most_common())})"
    yield f"  purchases: {len({run.key for run in evidence.runs})}"
    ends = Counter(job.state.short for job in evidence.jobs)
    yield f"  jobs: {len(evidence.jobs)} ({', '.join(f'{n} {state}' for state, n in ends.most_common())})"
    for name, figure in figures.items():
        yield f"  {name}: {figure}"
    lived = ", ".join(f"{pair.seconds:.1f} s" for pair in verdict.surplus)
    yield f"  surplus jobs: {len(verdict.surplus)}{f', which lived beside another for {lived}' if lived else ''}"
    yield "Violations"
    for wrong in Wrong:
        yield f"  {len(verdict.of(wrong)):5d}  {wrong.value}"


def story(violation: Violation, evidence: Evidence) -> Iterator[str]:
    """Yield what is known about a violation, in the order it happened."""
    yield f"{violation.wrong.value}: {f'run {violation.run_id}, ' if violation.run_id else ''}key {violation.key[:12]}…"
    yield f"  {violation.why}"
    runs = [run for run in evidence.runs if run.key == violation.key]
    jobs = [job for job in evidence.jobs if job.key == violation.key]
    happened = [event for run in runs for event in _of_run(run)] + [event for job in jobs for event in _of_job(job)]
    for at, what in sorted(happened):
        yield f"  {_time(at)}  {what}"
    for run in runs:
        if violation.run_id in (None, run.run_id):
            yield f"  log of {run.run_id}:"
            yield from (f"    {line}" for line in run.log)


def _of_run(run: RunLine) -> Iterator[tuple[float, str]]:
    forced = " with force_new" if run.force_new else ""
    yield run.begun_at, f"run {run.run_id} of {run.dag_id} begins{forced}"
    for strike in run.strikes:
        yield strike.at, f"run {run.run_id}: {strike.what}"
    if run.ended_at:
        job = f", its job {run.last_job.rsplit('/', 1)[-1][-6:]} {run.how}" if run.last_job else ""
        yield run.ended_at, f"run {run.run_id} is {run.state} (tune {run.tune}, try {run.tries} of {run.allowed}{job})"


def _of_job(job: JobLine) -> Iterator[tuple[float, str]]:
    name = f"job …{job.name[-6:]}"
    yield job.created_at, f"{name} is created: attempt {job.attempt}, by run {job.run}"
    if job.stopped_at:
        yield job.stopped_at, f"{name} is asked to cancel"
    if job.ended_at:
        yield job.ended_at, f"{name} has ended {job.state.short}"


def _time(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%H:%M:%S.%f")[:-3]

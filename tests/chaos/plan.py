"""What is to happen in a chaos run: made from a seed alone, and nothing here touches anything.

Times are seconds of the stage's clock, which stands still while too many runs are under way: the same seed is the same
plan on any machine, however long it takes there.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gemini_tuning.tuning.marks import Mark

SETTLE_SECONDS = 4.0
REQUEST_SECONDS = 8.0
LONGEST_LAG = 2.0  # of lists; less than the settle time, as an installation's settings promise
LONGEST_DELAY = 3.0  # of a request; less than the request time
SECONDS_PER_RUN = 2.5  # between two runs' beginnings, on average
LOCATIONS = tuple(f"chaos-{number}" for number in range(1, 7))
FOREVER = 7200.0

WHOLE = "chaos_whole"
TUNE_ONLY = "tune_only"
RESCHEDULED = "tune_only_rescheduled"
DAGS = (WHOLE, TUNE_ONLY, RESCHEDULED)


class Act(StrEnum):
    """What a user does to a run in the middle of it."""

    FAIL_RUN = "mark the run failed"
    FAIL_TASK = "mark tune failed"
    PASS_TASK = "mark tune success"
    CLEAR = "clear tune"
    DELETE = "mark the run failed and delete it"

    @property
    def ends(self) -> bool:
        """Whether the run wants no job any more."""
        return self is not Act.CLEAR


@dataclass(frozen=True)
class UsersAct:
    """An act, so many seconds after the run has begun, or after its job has appeared."""

    act: Act
    after_job: bool
    seconds: float


@dataclass(frozen=True)
class PlannedRun:
    """One Dag run.

    :param at: when it begins.
    :param kill_at: marks at which its task is killed, once each.
    """

    number: int
    dag_id: str
    at: float
    force_new: bool = False
    kill_at: tuple[Mark, ...] = ()
    act: UsersAct | None = None


@dataclass(frozen=True)
class PlannedPurchase:
    """Something that one or several runs buy.

    :param fate: what becomes of the first job, as a scenario of the local Vertex AI without its labels.
    :param faults: what goes wrong with requests of its location once its first run begins.
    :param cancelled_after: seconds after which somebody cancels its first job by hand.
    """

    number: int
    location: str
    runs: tuple[PlannedRun, ...]
    fate: dict[str, Any]
    faults: tuple[dict[str, Any], ...] = ()
    cancelled_after: float | None = None

    @property
    def ends_badly(self) -> bool:
        """Whether the plan lets its first job fail."""
        return "end" in self.fate


class Blow(StrEnum):
    """What happens to the whole stage."""

    TASK = "kill -9 of a task process"
    WORKER = "kill -9 of a task process and its worker"
    TRIGGERER = "kill -9 of the triggerer"
    SCHEDULER = "kill -9 of the scheduler"
    SCHEDULER_FAMILY = "kill -9 of the scheduler and all its tasks"
    API_SERVER = "kill -9 of the API server"
    TOKENS = "all tokens expire"
    LAG = "lists lag"


@dataclass(frozen=True)
class PlannedBlow:
    """A blow.

    :param value: which of the tasks that run then (0 to 1), or the lag in seconds.
    """

    at: float
    blow: Blow
    value: float = 0.0


@dataclass(frozen=True)
class Plan:
    """A whole chaos run."""

    seed: int
    purchases: tuple[PlannedPurchase, ...]
    blows: tuple[PlannedBlow, ...]

    @property
    def runs(self) -> tuple[PlannedRun, ...]:
        """All runs, in the order they begin."""
        return tuple(sorted((run for one in self.purchases for run in one.runs), key=lambda run: run.at))

    @property
    def seconds(self) -> float:
        """The last thing that happens by the clock."""
        return max([run.at for run in self.runs] + [blow.at for blow in self.blows])


def make_plan(seed: int, runs: int) -> Plan:
    """Return the plan of a seed."""
    chance = random.Random(seed)
    purchases: list[PlannedPurchase] = []
    left = runs
    while left:
        wanted = chance.choices((1, 2, 3), (55, 35, 10))[0]
        purchase = _purchase(chance, len(purchases) + 1, runs - left + 1, min(wanted, left), runs * SECONDS_PER_RUN)
        purchases.append(purchase)
        left -= len(purchase.runs)
    return Plan(seed, tuple(purchases), _blows(chance, runs * SECONDS_PER_RUN))


def _purchase(chance: random.Random, number: int, first: int, runs: int, seconds: float) -> PlannedPurchase:
    began = chance.uniform(0, seconds)
    planned = [_run(chance, first, began)]
    for index in range(1, runs):
        later = chance.uniform(8, 60) if chance.random() < 0.4 else chance.uniform(0, 1.5)
        again = later > 30 and chance.random() < 0.4
        planned.append(_run(chance, first + index, began + later, force_new=again))
    fate = _fate(chance)
    enders = [run.act is not None and run.act.act.ends for run in planned]
    if all(enders):
        # nobody will want the job: it would go on for ever, should nobody stop it; PENDING, as it would else keep
        # others from the machine's few places to train
        fate = {"seconds": {"PENDING": FOREVER}}
    elif any(run.act for run in planned):
        fate = {**fate, "seconds": {**fate.get("seconds", {}), "PENDING": 40.0}}
    by_hand = chance.uniform(1, 20) if chance.random() < 0.07 and not any(enders) else None
    return PlannedPurchase(
        number=number,
        location=chance.choice(LOCATIONS),
        runs=tuple(planned),
        fate=fate,
        faults=tuple(_fault(chance) for _ in range(chance.choices((0, 1, 2, 3), (40, 30, 20, 10))[0])),
        cancelled_after=by_hand,
    )


def _run(chance: random.Random, number: int, at: float, *, force_new: bool = False) -> PlannedRun:
    return PlannedRun(
        number=number,
        dag_id=chance.choices(DAGS, (20, 65, 15))[0],
        at=at,
        force_new=force_new,
        kill_at=tuple(chance.sample(list(Mark), chance.choices((0, 1, 2), (50, 35, 15))[0])),
        act=_act(chance) if chance.random() < 0.2 else None,
    )


def _act(chance: random.Random) -> UsersAct:
    act = chance.choice(list(Act))
    after_job = chance.random() < 0.7
    return UsersAct(act, after_job, chance.uniform(0, 10) if after_job else chance.uniform(0, 25))


def _fate(chance: random.Random) -> dict[str, Any]:
    drawn = chance.random()
    if drawn < 0.70:
        return {}
    if drawn < 0.78:
        return {"end": {"state": "JOB_STATE_FAILED", "stage": chance.choice(("PENDING", "TUNING", "POST_PROCESSING"))}}
    if drawn < 0.81:
        return {"end": {"state": "JOB_STATE_EXPIRED", "stage": "PENDING"}}
    if drawn < 0.84:
        return {"end": {"state": "JOB_STATE_PARTIALLY_SUCCEEDED"}}
    if drawn < 0.87:
        return {"end": {"state": "JOB_STATE_CANCELLED", "stage": "TUNING"}}
    if drawn < 0.93:
        return {"seconds": {"CANCELLING": chance.uniform(2, 10)}}
    return {"cancel": chance.choice(("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED"))}


_PATHS = {  # of tuning jobs: what is asked, by which method and path, and how often that is struck
    "create": ("POST", "tuningJobs$", 5),
    "list": ("GET", r"tuningJobs\?", 3),
    "get": ("GET", r"tuningJobs/\d+$", 3),
    "cancel": ("POST", ":cancel$", 2),
}


def _fault(chance: random.Random) -> dict[str, Any]:
    asked = chance.choices(list(_PATHS), [weight for _, _, weight in _PATHS.values()])[0]
    method, path, _ = _PATHS[asked]
    wrong: dict[str, Any] = chance.choice((
        {"drop": True, "when": "before"},
        {"drop": True, "when": "after"},
        {"status": 500, "when": "after"},
        {"status": 500, "when": "before"},
        {"status": 503, "when": chance.choice(("before", "after"))},
        {"status": 503, "when": "before", "retry_after": chance.randint(1, 4)},
        {"status": 504, "when": "after", "delay_seconds": chance.uniform(0, LONGEST_DELAY)},
        {"status": 429, "when": "before"},  # that nothing was done is what this status says
        {"status": 429, "when": "before", "retry_after": chance.randint(1, 4)},
        {"truncate": True},
        {"invalid_json": True},
        {"delay_seconds": chance.uniform(0.5, LONGEST_DELAY)},
    ))
    return {
        "method": method,
        "path": path,
        **wrong,
        "skip": chance.choice((0, 0, 0, 1, 2)),
        "times": chance.choice((1, 1, 2)),
    }


_EVERY = {  # seconds
    Blow.TASK: 12,
    Blow.WORKER: 40,
    Blow.TRIGGERER: 90,
    Blow.SCHEDULER: 160,
    Blow.SCHEDULER_FAMILY: 200,
    Blow.API_SERVER: 150,
    Blow.TOKENS: 80,
    Blow.LAG: 30,
}


def _blows(chance: random.Random, seconds: float) -> tuple[PlannedBlow, ...]:
    blows = []
    for blow, every in _EVERY.items():
        at = chance.uniform(0, every)
        while at < seconds:
            value = chance.uniform(0, LONGEST_LAG) if blow is Blow.LAG else chance.random()
            blows.append(PlannedBlow(at, blow, value))
            at += chance.uniform(0.5, 1.5) * every
    return tuple(sorted(blows, key=lambda blow: blow.at))

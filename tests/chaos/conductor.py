"""Lets a plan happen on a stage: starts the runs, arms the faults, strikes the blows, and notes what was done when."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from tests.chaos.evidence import Strike
from tests.chaos.hands import Hands
from tests.chaos.plan import DAGS, Plan, PlannedPurchase, PlannedRun
from tests.chaos.stage_api import Dags
from tests.end_to_end.rehearsal import Rehearsal
from tests.end_to_end.service import Goods

from gemini_tuning.tuning.spec import KEY_LABEL

MOST_AT_ONCE = 8  # runs under way, beyond which the stage's clock stands still
TICK_SECONDS = 0.5
LONGEST_STEP_SECONDS = 2.0  # of the clock, however long a call of a killed API server took
LOOK_SECONDS = 2.0
STUCK_SECONDS = 400.0  # without anything having ended


class Conductor:
    """Performs one plan.

    :param say: told how it goes, a line at a time.
    """

    def __init__(self, stage: Rehearsal, plan: Plan, say: Callable[[str], None]) -> None:
        self.stage, self.plan, self._say = stage, plan, say
        self.dags = Dags(stage.stack.api)
        self.hands = Hands(stage, self.dags)
        self.goods: dict[int, Goods] = {one.number: _goods(stage, one) for one in plan.purchases}
        self.purchase_of = {run.number: one for one in plan.purchases for run in one.runs}
        self.begun: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self.states: dict[str, str] = {}
        self.strikes: defaultdict[str, list[Strike]] = defaultdict(list)
        self.counts: Counter[str] = Counter()
        self.faults: dict[int, str] = {}
        self.by_hand: set[str] = set()
        self.first_job: dict[str, tuple[str, float]] = {}
        self._clock = 0.0
        self._waiting = list(plan.runs)
        self._blows = list(plan.blows)
        self._acts: dict[str, PlannedRun] = {}
        self._cancels = [one for one in plan.purchases if one.cancelled_after is not None]
        self._changed = time.monotonic()
        self._looked = 0.0

    def run_id(self, run: PlannedRun) -> str:
        """The name of a planned run."""
        return f"c{self.plan.seed}-{run.number:03d}"

    def key(self, run: PlannedRun) -> str:
        """What it buys."""
        return self.goods[self.purchase_of[run.number].number].key

    @property
    def under_way(self) -> list[PlannedRun]:
        """The runs that have begun and not ended."""
        return [run for run in self.plan.runs if self.run_id(run) in self.begun and self.run_id(run) not in self.ended]

    def perform(self) -> None:
        """Do all of it, and wait until every run has ended, or nothing moves any more; Ctrl-C begins no more runs."""
        for dag_id in DAGS:
            self.dags.unpause(dag_id)
        try:
            self._go_on()
        except KeyboardInterrupt:
            self._say(f"Stopped by hand: {len(self._waiting)} runs are not begun.")
            self._waiting, self._blows = [], []
            self._go_on()

    def _go_on(self) -> None:
        before, told = time.monotonic(), 0.0
        while (self._waiting or self._blows or self.under_way) and time.monotonic() - self._changed < STUCK_SECONDS:
            now = time.monotonic()
            if len(self.under_way) < MOST_AT_ONCE:
                self._clock += min(now - before, LONGEST_STEP_SECONDS)
            before = now
            self._step()
            if now - told > 30:
                told = now
                jobs = len(self.stage.all_jobs())
                self._say(f"{self._clock:4.0f} s: {len(self.begun)} runs begun, {len(self.ended)} ended, {jobs} jobs")
            time.sleep(max(0.0, TICK_SECONDS - (time.monotonic() - now)))

    def _step(self) -> None:
        while self._waiting and self._waiting[0].at <= self._clock:
            self._start(self._waiting.pop(0))
        while self._blows and self._blows[0].at <= self._clock:
            blow = self._blows.pop(0)
            for run_id in self.hands.strike(blow, [self.run_id(run) for run in self.under_way]):
                self._note(run_id, blow.blow.value)
            self.counts[blow.blow.value] += 1
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            self._look()
            self._act()
            self._cancel_by_hand()

    def _start(self, run: PlannedRun) -> None:
        purchase, run_id = self.purchase_of[run.number], self.run_id(run)
        goods = self.goods[purchase.number]
        if not any(self.run_id(one) in self.begun for one in purchase.runs):
            self._prepare(purchase, goods)
        for mark in run.kill_at:
            self.stage.arm(run_id, mark)
        self.begun[run_id] = time.time()
        self._changed = time.monotonic()
        self.dags.start(run.dag_id, run_id, _conf(goods, run))
        if run.act:
            self._acts[run_id] = run

    def _prepare(self, purchase: PlannedPurchase, goods: Goods) -> None:
        if purchase.fate:
            self.stage.cloud.control("POST", "scenarios", {"labels": {KEY_LABEL: goods.key}, **purchase.fate})
            self.counts[_fate_words(purchase.fate)] += 1
        for fault in purchase.faults:
            spec = dict(fault)
            number = self.stage.fault(purchase.location, spec.pop("path"), **spec)
            self.faults[number] = fault_words(fault)

    def _look(self) -> None:
        now = time.time()
        for job in self.stage.all_jobs():
            self.first_job.setdefault(job["labels"].get(KEY_LABEL, ""), (job["name"], now))
        unfinished = {run_id for dag_id in DAGS for run_id in self.dags.unfinished(dag_id)}
        for run in self.under_way:
            run_id = self.run_id(run)
            if run_id in unfinished:
                continue
            found = self.dags.run(run.dag_id, run_id)
            if found is None or found["state"] in {"success", "failed"}:
                self.states[run_id] = found["state"] if found else "deleted"
                self.ended[run_id] = now
                self._changed = time.monotonic()

    def _act(self) -> None:
        now = time.time()
        for run_id, run in list(self._acts.items()):
            if run_id in self.ended:
                del self._acts[run_id]
                continue
            act = run.act
            job = self.first_job.get(self.key(run))
            since = (max(job[1], self.begun[run_id]) if job else None) if act.after_job else self.begun[run_id]
            if since is not None and now - since >= act.seconds and self.hands.do(act.act, run.dag_id, run_id):
                del self._acts[run_id]
                self._note(run_id, act.act.value, user=True)
                self.counts[act.act.value] += 1

    def _cancel_by_hand(self) -> None:
        now = time.time()
        for purchase in list(self._cancels):
            job = self.first_job.get(self.goods[purchase.number].key)
            if job and now - job[1] >= purchase.cancelled_after:
                self._cancels.remove(purchase)
                self.by_hand.add(job[0])  # whatever was answered: that answer may have been spoilt, too
                self.hands.cancel(job[0])
                self.counts["a job is cancelled by hand"] += 1

    def _note(self, run_id: str, what: str, *, user: bool = False) -> None:
        self.strikes[run_id].append(Strike(time.time(), what, user))


def _goods(stage: Rehearsal, purchase: PlannedPurchase) -> Goods:
    return stage.goods(purchase.location, epochs=1, learning_rate_multiplier=1 + purchase.number / 1000)


def _conf(goods: Goods, run: PlannedRun) -> dict[str, Any]:
    return {
        "datasets": goods.datasets,
        "hyperparameters": goods.hyperparameters,
        "location": goods.location,
        "force_new": run.force_new,
    }


def fault_words(fault: dict[str, Any]) -> str:
    """Return what a fault does, such as ``create: 503 after``."""
    asked = {"tuningJobs$": "create", r"tuningJobs\?": "list", ":cancel$": "cancel"}.get(fault["path"], "get")
    if status := fault.get("status"):
        what = f"{status}{' with Retry-After' if 'retry_after' in fault else ''} {fault['when']}"
    elif fault.get("drop"):
        what = f"answer dropped {fault['when']}"
    else:
        what = next(name for name in ("truncate", "invalid_json", "delay_seconds") if fault.get(name)).replace("_", " ")
    return f"{asked}: {what}"


def _fate_words(fate: dict[str, Any]) -> str:
    if "end" in fate:
        return f"a job ends {fate['end']['state'].removeprefix('JOB_STATE_')}"
    if "cancel" in fate:
        return f"a cancelled job ends {fate['cancel'].removeprefix('JOB_STATE_')}"
    return "a job takes longer"

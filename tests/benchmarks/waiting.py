"""What a thousand deferred waits in one triggerer cost: ``python -m tests.benchmarks.waiting``.

The same jobs are waited for twice, each time in a laptop stack of its own with a real Airflow: by this project's
trigger, and by one that asks for its own job with its own client, as deferrable operators usually do. Meanwhile some
of the jobs end at random moments, and real task processes take their tasks up again. Last, a Dag run with a hundred of
this project's waits is marked as failed. A table is printed, then the same as JSON; ``--json FILE`` writes it to a
file too. The exit status is 1 when a target is missed.

KiB per wait         by which the triggerer's two processes grew (USS: memory of their own) from the first wait to the
                     last: the one with the event loop, and its supervisor, which speaks to Airflow's database
requests per minute  of tuning jobs, counted by the local Vertex AI while jobs are waited for
CPU                  of one core, meanwhile
delay until told     from a job's end to the moment at which Airflow took its trigger's event (``scheduled_when``)
delay until resumed  from a job's end to the first line that its task runs in its new process
longest block        the longest time by which a coroutine in the triggerer's event loop that sleeps 5 ms came too
                     late; below it, how much of that time the loop's thread and all threads of its process were at
                     work: on a busy machine the rest is the machine's
all cancelled after  from the marking as failed to the cancellation of the last job
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
from tests.local_cloud.services import wait_until

from local_cloud.laptop.airflow_api import AirflowApiError
from local_cloud.laptop.settings import LOCAL_LOCATION, LOCAL_PROJECT, PROJECT_ROOT, StackSettings
from local_cloud.laptop.stack import Stack, running_stack

_PARTS = Path(__file__).with_name("triggerer")
_DESIGNS = {"shared": "list pages, one poller", "single": "one get per trigger"}
_FIRST_ID = 2 * 10**18
_SETTLING = 30.0
_START_SECONDS = 600.0
_ON_KILL_SECONDS = 30.0  # Airflow's [triggerer] on_kill_timeout

Row = dict[str, float]


def main() -> None:
    """Wait in both ways, print, and tell by the exit status whether the targets are met."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.waiting",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--waits", type=int, default=1000)
    parser.add_argument("--killed", type=int, default=100, help="how many of them are marked as failed at once")
    parser.add_argument("--interval", type=float, default=60.0, help="seconds between two looks at a job")
    parser.add_argument("--minutes", type=float, default=4.0, help="for each of the two ways")
    parser.add_argument("--ends", type=int, default=60, help="how many of the jobs end meanwhile")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--design", choices=_DESIGNS, help="only this one")
    parser.add_argument("--json", type=Path, help="write the results here too")
    parser.add_argument("--keep", type=Path, help="write the stacks into this folder, and leave them there")
    options = parser.parse_args()
    designs = [options.design] if options.design else list(_DESIGNS)
    results: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as folder:
        for design in designs:
            results[design] = _measure(design, options, (options.keep or Path(folder)) / design)
            sys.stderr.write(f"{_DESIGNS[design]}: {results[design]}\n")
    missed = _missed(results, options.interval)
    document = json.dumps({"waits": options.waits, "interval": options.interval, "missed": missed, **results}, indent=2)
    sys.stdout.write(
        f"{options.waits} waits, looks every {options.interval:g} s; {options.ends} jobs end in {options.minutes:g} "
        f"minutes\n\n{_table(results)}\n{document}\n"
    )
    if options.json:
        options.json.write_text(document + "\n")
    for target in missed:
        sys.stderr.write(f"Missed: {target}\n")
    sys.exit(bool(missed))


class _Groups(NamedTuple):
    """Names of jobs: one that is waited for first, those that may end, and those whose waits are killed."""

    first: list[str]
    rest: list[str]
    killed: list[str]

    @classmethod
    def of(cls, options: argparse.Namespace) -> _Groups:
        parent = f"projects/{LOCAL_PROJECT}/locations/{LOCAL_LOCATION}/tuningJobs"
        names = [f"{parent}/{_FIRST_ID + number}" for number in range(options.waits)]
        return cls(names[:1], names[1 : -options.killed], names[-options.killed :])


def _measure(design: str, options: argparse.Namespace, folder: Path) -> Row:
    """Wait in one of the two ways; return the figures."""
    folder.mkdir(parents=True, exist_ok=True)
    groups = _Groups.of(options)
    plan = {
        "design": design,
        "interval": options.interval,
        "waits": groups._asdict(),
        "pulse_dag": "pulse",
        "pulse_file": str(folder / "pulse.jsonl"),
        "resumed_file": str(folder / "resumed.jsonl"),
    }
    (folder / "plan.json").write_text(json.dumps(plan))
    settings = StackSettings(
        root=PROJECT_ROOT,
        state_dir=folder / "stack",
        dags_folder=_PARTS / "dags",
        extra_env={
            "PYTHONPATH": f"{PROJECT_ROOT / 'plugins'}:{_PARTS}",
            "BENCHMARK_PLAN": str(folder / "plan.json"),
            "AIRFLOW__CORE__EXECUTOR": "benchmark_executor.DeferringExecutor",
            "AIRFLOW__CORE__PARALLELISM": "16",
            "AIRFLOW__TRIGGERER__CAPACITY": str(options.waits + 1),  # and the pulse
            "AIRFLOW__SCHEDULER__MAX_TIS_PER_QUERY": "64",
        },
    )
    with running_stack(settings) as stack:
        return _Measurement(stack, design, groups, options, folder).figures()


class _Measurement:
    def __init__(self, stack: Stack, design: str, groups: _Groups, options: argparse.Namespace, folder: Path) -> None:
        self._stack = stack
        self._design = design
        self._groups = groups
        self._options = options
        self._folder = folder
        self._runs: dict[str, str] = {}
        self._supervisor = psutil.Process(stack.state.pids["triggerer"])
        self._runner = max(self._supervisor.children(), key=lambda child: child.memory_info().rss)

    def figures(self) -> Row:
        """Bring the waits into the triggerer, let jobs end, kill some waits."""
        for group in self._groups:
            for name in group:
                self._plant(name, "RUNNING")
        before = time.time()
        self._trigger("pulse")
        self._trigger("first")
        self._await_deferred("first", 1)
        time.sleep(10)  # imports, a client and its threads are there for one wait as well
        size = self._sizes()
        began = time.time()
        self._trigger("rest")
        self._trigger("killed")
        self._await_deferred("rest", len(self._groups.rest))
        self._await_deferred("killed", len(self._groups.killed))
        deferred = time.time()
        time.sleep(_SETTLING)
        wait_until(lambda: self._looked() >= self._options.waits, _START_SECONDS, "each job to be looked at")
        started = time.time()
        grown = {name: now - size[name] for name, now in self._sizes().items()}
        waiting = self._wait()
        row = {
            "seconds until deferred": deferred - began,
            **{name: used / self._options.waits / 1024 for name, used in grown.items()},
            **waiting,
            **self._blocks("at the first wait", before, began),
            **self._blocks("while starting", began, started),
            **self._blocks("while waiting", started, time.time()),
        }
        return row | (self._kill() if self._design == "shared" else {})

    def _wait(self) -> Row:
        """Let jobs end; return what was seen meanwhile."""
        self._control("DELETE", "requests")
        processes = {"CPU of the event loop, %": self._runner, "CPU of its supervisor, %": self._supervisor}
        before = {name: _cpu_seconds(process) for name, process in processes.items()}
        began = time.time()
        ended = self._end_some()
        seconds = time.time() - began
        cpu = {name: (_cpu_seconds(process) - before[name]) / seconds * 100 for name, process in processes.items()}
        requests = sum("tuningJobs" in request["path"] for request in self._control("GET", "requests"))
        told, resumed = self._told(ended), self._resumed()
        return {
            "requests per minute": requests / seconds * 60,
            **cpu,
            "threads": self._runner.num_threads(),
            **_delays("until told", ended, told),
            **_delays("until resumed", ended, resumed),
            "not noticed": sum(name not in resumed for name in ended),
        }

    def _end_some(self) -> dict[str, float]:
        """Let jobs end at random moments, the last one early enough to be noticed; return when each did."""
        seconds = self._options.minutes * 60
        chance = random.Random(self._options.seed)
        chosen = chance.sample(self._groups.rest, self._options.ends)
        moments = sorted(chance.uniform(0, seconds - self._options.interval) for _ in chosen)
        began = time.time()
        ended = {}
        for name, moment in zip(chosen, moments, strict=True):
            time.sleep(max(0.0, began + moment - time.time()))
            ended[name] = time.time()
            self._plant(name, "SUCCEEDED")
        time.sleep(max(0.0, began + seconds - time.time()))
        return ended

    def _kill(self) -> Row:
        """Mark a Dag run of waits as failed; return how long it took until their jobs were cancelled."""
        marked = time.time()
        self._stack.api.patch(f"/dags/killed/dagRuns/{self._runs['killed']}", {"state": "failed"})
        answered = time.time()
        left = set(self._groups.killed)
        while left and time.time() < answered + 2 * _ON_KILL_SECONDS:
            states = {job["name"].rsplit("/", 1)[1]: job["state"] for job in self._control("GET", "jobs")["jobs"]}
            left = {name for name in left if states[name.rsplit("/", 1)[1]] != "JOB_STATE_CANCELLED"}
            time.sleep(0.2)
        over = time.time()
        return {
            "marking took, s": answered - marked,
            "all cancelled after, s": over - marked,
            "not cancelled": len(left),
            **self._blocks("while killed", marked, over),
        }

    def _blocks(self, phase: str, began: float, ended: float) -> Row:
        lines = (self._folder / "pulse.jsonl").read_text().splitlines()
        seconds = [second for second in map(json.loads, lines) if began < second["at"] <= ended]
        worst = max(seconds, key=lambda second: second["late"])
        return {
            f"longest block {phase}, ms": worst["late"] * 1000,
            f"- loop at work {phase}, ms": worst["loop"] * 1000,
            f"- process at work {phase}, ms": worst["process"] * 1000,
            f"- seconds with over 100 ms {phase}": sum(second["late"] > 0.1 for second in seconds),
            f"- longest collection {phase}, ms": max(second["collection"] for second in seconds) * 1000,
        }

    def _told(self, names: Iterable[str]) -> dict[str, float]:
        """Return when Airflow took the event of each of these waits."""
        numbers = {name: index for index, name in enumerate(self._groups.rest)}
        told = {}
        for name in names:
            path = f"/dags/rest/dagRuns/{self._runs['rest']}/taskInstances/wait/{numbers[name]}"
            task = self._stack.api.get(path)
            if task["state"] == "success":
                told[name] = datetime.fromisoformat(task["scheduled_when"]).timestamp()
        return told

    def _resumed(self) -> dict[str, float]:
        file = self._folder / "resumed.jsonl"
        lines = map(json.loads, file.read_text().splitlines() if file.exists() else [])
        return {line["name"]: line["at"] for line in lines}

    def _looked(self) -> int:
        """Return for how many jobs an answer has been got: by a get of its own, or by lists."""
        if self._design == "shared":
            return self._options.waits
        paths = {request["path"].rsplit("/", 1)[1] for request in self._control("GET", "requests")}
        return len(paths & {name.rsplit("/", 1)[1] for group in self._groups for name in group})

    def _sizes(self) -> dict[str, int]:
        processes = {"KiB per wait, event loop": self._runner, "KiB per wait, its supervisor": self._supervisor}
        return {name: process.memory_full_info().uss for name, process in processes.items()}

    def _trigger(self, dag_id: str) -> None:
        def triggered() -> bool:
            try:
                run = self._stack.api.post(f"/dags/{dag_id}/dagRuns", {"logical_date": None})
            except AirflowApiError:
                time.sleep(0.5)  # the Dag file is not parsed yet
                return False
            self._runs[dag_id] = run["dag_run_id"]
            return True

        wait_until(triggered, _START_SECONDS, f"Dag {dag_id} to be triggered")

    def _await_deferred(self, dag_id: str, waits: int) -> None:
        path = f"/dags/{dag_id}/dagRuns/{self._runs[dag_id]}/taskInstances"

        def deferred() -> bool:
            self._stack.check()
            time.sleep(0.5)
            return self._stack.api.get(path, state="deferred", limit=1)["total_entries"] >= waits

        wait_until(deferred, _START_SECONDS, f"the {waits} waits of {dag_id} to be deferred")

    def _plant(self, name: str, state: str) -> None:
        labels = {"gemini-tuning-key": name.rsplit("/", 1)[1]}
        self._control("POST", "jobs", {"name": name, "state": f"JOB_STATE_{state}", "labels": labels})

    def _control(self, method: str, path: str, body: Any = None) -> Any:
        url = f"{self._stack.vertex_url}/_local/{path}"
        return httpx.request(method, url, json=body, timeout=30, trust_env=False).raise_for_status().json()


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _delays(until: str, ended: dict[str, float], noticed: dict[str, float]) -> Row:
    delays = sorted(noticed.get(name, math.inf) - moment for name, moment in ended.items())
    return {
        f"delay {until}, median, s": statistics.median(delays),
        f"delay {until}, p99, s": delays[math.ceil(len(delays) * 0.99) - 1],
    }


def _missed(results: dict[str, Row], interval: float) -> list[str]:
    """Return the targets that were missed, in words."""
    shared = results.get("shared")
    if shared is None:
        return []
    targets: dict[str, Callable[[], bool]] = {
        f"the 99th percentile of the delays is {interval + 2:g} s at most": lambda: (
            shared["delay until resumed, p99, s"] <= interval + 2
        ),
        "no block of the event loop is longer than 100 ms": lambda: all(
            value <= 100 for name, value in shared.items() if name.startswith("longest block")
        ),
        "every killed wait's job is cancelled": lambda: not shared["not cancelled"],
    }
    if single := results.get("single"):
        targets["a fiftieth of the requests is enough"] = lambda: (
            shared["requests per minute"] * 50 <= single["requests per minute"]
        )
    return [words for words, met in targets.items() if not met()]


def _table(results: dict[str, Row]) -> str:
    lines = [f"{'':40}" + "".join(f"{_DESIGNS[design]:>26}" for design in results)]
    for name in dict.fromkeys(name for row in results.values() for name in row):
        values = (row.get(name) for row in results.values())
        lines.append(f"{name:40}" + "".join(f"{'' if value is None else f'{value:,.2f}':>26}" for value in values))
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()

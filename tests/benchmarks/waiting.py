"""What a thousand deferred waits in one event loop cost: ``python -m tests.benchmarks.waiting``.

The same jobs are waited for twice, each time in a process of its own: by this project's trigger, and by one that asks
for its own job with its own client, as deferrable operators usually do. Meanwhile some of the jobs end at random
moments. Requests are counted by the local Vertex AI; a delay is the time from a job's end until its trigger has fired.
The event loop's longest block is the longest time by which a coroutine that sleeps 5 ms came too late. A table is
printed, then the same as JSON; ``--json FILE`` writes it to a file too.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
from tests.local_cloud.services import LocalCloud, running_local_cloud

_BEAT = 0.005
_FIRST_ID = 2 * 10**18
_DESIGNS = {"shared": "list pages, one poller", "single": "one get per trigger"}


def main() -> None:
    """Start a local cloud, plant the jobs, wait for them in both ways, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.waiting", description=__doc__)
    parser.add_argument("--waits", type=int, default=1000)
    parser.add_argument("--interval", type=float, default=60.0, help="seconds between two looks at a job")
    parser.add_argument("--minutes", type=float, default=4.0, help="for each of the two ways")
    parser.add_argument("--ends", type=int, default=100, help="how many of the jobs end meanwhile")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the results here too")
    parser.add_argument("--wait", choices=_DESIGNS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.wait:
        asyncio.run(_waiting(options))
        return
    with tempfile.TemporaryDirectory() as state, running_local_cloud(Path(state)) as cloud:
        results = {design: _measure(cloud, design, options, Path(state)) for design in _DESIGNS}
    ratio = results["single"]["requests_per_minute"] / results["shared"]["requests_per_minute"]
    document = json.dumps({"waits": options.waits, "interval": options.interval, "ratio": ratio, **results}, indent=2)
    sys.stdout.write(
        f"{options.waits} waits, looks every {options.interval:g} s; {options.ends} jobs end in {options.minutes:g} "
        f"minutes\n\n{_table(results)}\n{ratio:.0f} times fewer requests\n\n{document}\n"
    )
    if options.json:
        options.json.write_text(document + "\n")


def _measure(cloud: LocalCloud, design: str, options: argparse.Namespace, state: Path) -> dict[str, float]:
    """Let a process wait while jobs end, and put together what it and the service saw."""
    names = [f"{_parent(cloud)}/tuningJobs/{_FIRST_ID + number}" for number in range(options.waits)]
    for name in names:
        _plant(cloud, name, "RUNNING")
    with (state / f"{design}.log").open("wb") as log:
        command = [sys.executable, "-m", "tests.benchmarks.waiting", "--wait", design]
        settings = ["--waits", str(options.waits), "--interval", str(options.interval)]
        process = subprocess.Popen(
            [*command, *settings],
            env={**os.environ, **_environment(cloud)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps(names) + "\n")
    process.stdin.flush()
    if not process.stdout.readline():
        raise RuntimeError((state / f"{design}.log").read_text())
    before = len(cloud.requests())
    began = time.time()
    ended = _end_some(cloud, names, options)
    seconds = time.time() - began
    requests = len(cloud.requests()) - before
    time.sleep(options.interval + 10)  # the last ends are noticed
    answer, _ = process.communicate()
    seen = json.loads(answer)
    delays = sorted(seen["events"].get(name, math.inf) - moment for name, moment in ended.items())
    cpu = seen["cpu_seconds"] / seen["seconds"]
    result = {
        "requests_per_minute": requests / seconds * 60,
        "kib_per_wait": seen["bytes"] / options.waits / 1024,
        "cpu_percent": cpu * 100,
        "delay_p50": statistics.median(delays),
        "delay_p99": delays[int(len(delays) * 0.99)],
        "longest_block_ms": seen["longest_block"] * 1000,
        "blocks_over_100_ms": seen["blocks_over_100_ms"],
        "longest_collection_ms": seen["longest_collection"] * 1000,
        "threads": seen["threads"],
        "not_noticed": delays.count(math.inf),
    }
    sys.stderr.write(f"{_DESIGNS[design]}: {result}\n")
    return result


def _end_some(cloud: LocalCloud, names: list[str], options: argparse.Namespace) -> dict[str, float]:
    """Let jobs end at random moments; return when each did."""
    chance = random.Random(options.seed)
    chosen = chance.sample(names, options.ends)
    moments = sorted(chance.uniform(0, options.minutes * 60) for _ in chosen)
    began = time.time()
    ended = {}
    for name, moment in zip(chosen, moments, strict=True):
        time.sleep(max(0.0, began + moment - time.time()))
        _plant(cloud, name, "SUCCEEDED")
        ended[name] = time.time()
    time.sleep(max(0.0, began + options.minutes * 60 - time.time()))
    return ended


def _plant(cloud: LocalCloud, name: str, state: str) -> None:
    labels = {"gemini-tuning-key": name.rsplit("/", 1)[1]}
    cloud.control("POST", "jobs", {"name": name, "state": f"JOB_STATE_{state}", "labels": labels})


def _parent(cloud: LocalCloud) -> str:
    return f"projects/{cloud.project_number}/locations/{cloud.location}"


def _environment(cloud: LocalCloud) -> dict[str, str]:
    extra = {"key_path": cloud.credentials_path, "project": cloud.project}
    connection = {"conn_type": "google_cloud_platform", "extra": extra}
    proxy = {"HTTPS_PROXY": "http://127.0.0.1:9", "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO"}
    return {**cloud.environment(), **proxy, "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": json.dumps(connection)}


def _table(results: dict[str, dict[str, float]]) -> str:
    lines = [f"{'':24}" + "".join(f"{words:>26}" for words in _DESIGNS.values())]
    for name in next(iter(results.values())):
        lines.append(f"{name:24}" + "".join(f"{results[design][name]:26,.2f}" for design in _DESIGNS))
    return "".join(f"{line}\n" for line in lines)


async def _waiting(options: argparse.Namespace) -> None:
    """Wait for the jobs whose names come on standard input, until it is closed."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # Airflow logs to standard output
    names = json.loads(await asyncio.to_thread(sys.stdin.readline))
    events: dict[str, float] = {}
    first = asyncio.create_task(_fire(_trigger(options.wait, names[0], options.interval), events))
    await asyncio.sleep(5)  # imports, a client and its threads are there for one wait as well
    size = psutil.Process().memory_info().rss
    waits = [
        first,
        *(asyncio.create_task(_fire(_trigger(options.wait, name, options.interval), events)) for name in names[1:]),
    ]
    await asyncio.sleep(max(20.0, options.interval))  # each has looked at least once
    used = psutil.Process().memory_info().rss - size
    gc.collect()  # what starting has left behind is not measured
    cpu = resource.getrusage(resource.RUSAGE_SELF)
    began = time.time()
    beats: list[float] = []
    pulse = asyncio.create_task(_beat(beats))
    collections = _Collections()
    answers.write("ready\n")
    await asyncio.to_thread(sys.stdin.read)
    now = resource.getrusage(resource.RUSAGE_SELF)
    pulse.cancel()
    result: dict[str, Any] = {
        "bytes": used,
        "seconds": time.time() - began,
        "cpu_seconds": now.ru_utime + now.ru_stime - cpu.ru_utime - cpu.ru_stime,
        "longest_block": max(beats),
        "blocks_over_100_ms": sum(beat > 0.1 for beat in beats),
        "longest_collection": collections.longest,
        "threads": threading.active_count(),
        "events": events,
    }
    for wait in waits:
        wait.cancel()
    answers.write(json.dumps(result) + "\n")
    os._exit(0)  # threads that still wait for an answer would hold it up


class _Collections:
    """Measures Python's garbage collections, which stop every thread."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._began = 0.0
        gc.callbacks.append(self)

    def __call__(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        else:
            self.longest = max(self.longest, time.perf_counter() - self._began)


async def _beat(late: list[float]) -> None:
    while True:
        before = time.perf_counter()
        await asyncio.sleep(_BEAT)
        late.append(time.perf_counter() - before - _BEAT)


async def _fire(trigger: Any, events: dict[str, float]) -> None:
    async for _ in trigger.run():
        events[trigger.name] = time.time()


def _trigger(design: str, name: str, interval: float) -> Any:
    from gemini_tuning.triggers.tuning import TuningJobTrigger

    if design == "shared":
        return TuningJobTrigger(name, "google_cloud_default", None, None, interval, time.time() + 86_400)
    return _OneGetEach(name, interval)


class _OneGetEach:
    """A trigger with a client of its own, which asks for its own job."""

    def __init__(self, name: str, interval: float) -> None:
        self.name = name
        self._interval = interval

    async def run(self) -> AsyncIterator[object]:
        service = await asyncio.to_thread(self._connect)
        while True:
            job = await asyncio.to_thread(service.get, self.name)
            if job.state.ended:
                yield job
                return
            await asyncio.sleep(self._interval)

    def _connect(self) -> Any:
        from gemini_tuning.hooks.tuning import GeminiTuningHook

        return GeminiTuningHook().jobs


if __name__ == "__main__":
    main()

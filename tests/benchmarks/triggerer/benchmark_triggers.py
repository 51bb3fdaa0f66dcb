"""Triggers of the benchmark of waits, as the triggerer imports them."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from gemini_tuning.triggers.tuning import TuningJobTrigger

_BEAT = 0.005
_A_DAY = 86_400.0


class OneGetEach(BaseTrigger):
    """Asks for its own job with a client of its own, as deferrable operators usually do."""

    def __init__(self, name: str, interval: float) -> None:
        super().__init__()
        self.name = name
        self.interval = interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.OneGetEach", {"name": self.name, "interval": self.interval}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        service = await asyncio.to_thread(self._connect)
        while True:
            job = await asyncio.to_thread(service.get, self.name)
            if job.state.ended:
                yield TriggerEvent({"look": "ended", "job": job.to_json()})
                return
            await asyncio.sleep(self.interval)

    def _connect(self) -> Any:
        from gemini_tuning.hooks.tuning import GeminiTuningHook

        return GeminiTuningHook().jobs


class Pulse(BaseTrigger):
    """Beats every 5 ms and writes down, each second, by how much the latest beat of it came too late.

    Beside it, what the event loop's thread and the whole process used of the CPU meanwhile: a beat that is late
    although both used little was kept waiting by the machine, or by a call that blocks.
    """

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = file

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.Pulse", {"file": self.file}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        collections = _Collections()
        with Path(self.file).open("a", buffering=1) as file:
            while True:
                worst = await _second()
                file.write(json.dumps({"at": time.time(), **worst, "collection": collections.longest()}) + "\n")
        yield TriggerEvent({})


async def _second() -> dict[str, float]:
    """Beat for a second; return the worst beat of it."""
    end = time.perf_counter() + 1
    worst = {"late": 0.0}
    while (before := time.perf_counter()) < end:
        thread, process = time.thread_time(), time.process_time()
        await asyncio.sleep(_BEAT)
        late = time.perf_counter() - before - _BEAT
        if late > worst["late"]:
            worst = {"late": late, "loop": time.thread_time() - thread, "process": time.process_time() - process}
    return worst


class _Collections:
    """Measures Python's garbage collections, which stop every thread."""

    def __init__(self) -> None:
        self._longest = 0.0
        self._began = 0.0
        gc.callbacks.append(self)

    def __call__(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        else:
            self._longest = max(self._longest, time.perf_counter() - self._began)

    def longest(self) -> float:
        """Return the longest collection since the last question, seconds."""
        longest, self._longest = self._longest, 0.0
        return longest


def trigger_for(design: str, name: str, interval: float) -> BaseTrigger:
    """Return what waits for a job in one of the two designs."""
    if design == "single":
        return OneGetEach(name, interval)
    deadline = time.time() + _A_DAY
    return TuningJobTrigger(name, "google_cloud_default", None, None, interval, deadline, cancel_on_kill=True)

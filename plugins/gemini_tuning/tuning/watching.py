"""One wait for one job: what it is told, when its next look is due, and what it asks of the service."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from gemini_tuning.errors import GeminiTuningError, PermanentError
from gemini_tuning.tuning.metrics import Metrics
from gemini_tuning.tuning.schedule import Candidate, gap, sooner
from gemini_tuning.tuning.spec import KEY_LABEL, TuningJob


class Source(Protocol):
    """What a poller asks of the tuning service; every call blocks, and raises this package's errors."""

    def pages(self, filter_: str | None) -> Iterator[tuple[TuningJob, ...]]:
        """Return the pages of a list, newest jobs first; each is one request, made when it is asked for."""

    def get(self, name: str) -> TuningJob:
        """Return a job as it is now."""

    def cancel(self, name: str) -> None:
        """Ask for a job to be cancelled."""

    def metrics(self, job: TuningJob) -> Metrics:
        """Return the curves a job has recorded so far."""


class Update(NamedTuple):
    """News of a wait: the job as last seen, and what went wrong with the latest look.

    A ``PermanentError`` is the last news there is; a ``TransientError`` is waited out.
    """

    job: TuningJob | None
    error: GeminiTuningError | None


class Watch:
    """One wait for one job, as its poller keeps it."""

    __slots__ = ("_error", "_news", "due", "failed_at", "interval", "job", "looking", "misses", "name", "since", "skip")

    def __init__(self, name: str, interval: float, due: float) -> None:
        self.name = name
        self.interval = interval
        self.due = due  # Unix time of the next look; infinite once there is nothing left to see
        self.job: TuningJob | None = None
        self.since = 0.0
        self.looking = False
        self.misses = 0
        self.skip = 0
        self.failed_at = 0.0
        self._error: GeminiTuningError | None = None
        self._news = asyncio.Event()

    async def next(self, seconds: float) -> Update | None:
        """Wait for news: a job that changed, or trouble; None when the seconds are over without any."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._news.wait()
        except TimeoutError:
            return None
        self._news.clear()
        update, self._error = Update(self.job, self._error), None
        return update

    def see(self, job: TuningJob, now: float, chance: float) -> None:
        """Take note of a look."""
        before = self.job
        if before is None or (before.state_words, before.detail_state) != (job.state_words, job.detail_state):
            self.since = now
        self.job = job
        self.failed_at = 0.0
        self.due = now + sooner(gap(job, now, self.since, self.interval), chance)
        if job != before:
            self._news.set()

    def tell(self, error: GeminiTuningError) -> None:
        """Pass trouble on."""
        self._error = error
        if isinstance(error, PermanentError):
            self.due = math.inf
        self._news.set()

    def candidate(self, now: float) -> Candidate:
        """Return what a plan needs to know."""
        labelled = None if self.job is None else KEY_LABEL in self.job.labels
        listed = not self.looking and not self.skip and self.due < math.inf
        return Candidate(self.due - now, self.interval, labelled, listed)

"""Cancel a job inside an event loop, and see what became of it: ``cancelling`` for triggers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from gemini_tuning.errors import GeminiTuningError, ServiceRefusedError, TransientError
from gemini_tuning.tuning.cancelling import Cancellation
from gemini_tuning.tuning.spec import TuningJob

STOP_SECONDS = 25.0
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 2.0

T = TypeVar("T")


class Cancellable(Protocol):
    """What stopping asks of the service; both calls block."""

    def get(self, name: str) -> TuningJob:
        """Return a job as it is now."""

    def cancel(self, name: str) -> None:
        """Ask for a job to be cancelled."""


class Caller(Protocol):
    """Makes blocking calls without blocking the event loop."""

    async def call(self, ask: Callable[[Cancellable], T]) -> T:
        """Return what the call returns."""

    async def get(self, name: str) -> TuningJob:
        """Return a job as it is now; only so many are asked for at once that a call needn't wait for them."""


async def stop(poller: Caller, name: str, within: float = STOP_SECONDS) -> Cancellation:
    """Cancel a job and look at it until it has ended; no error when it had ended already.

    Trouble that passes is waited out as long as there is time.

    :param within: seconds for all of it.
    :raises ServiceRefusedError: the job may not be cancelled, or there is none.
    :raises TransientError: nothing tells that the service took the request, or what came of it.
    """
    stopping = _Stopping(poller, name)
    try:
        async with asyncio.timeout(within):
            return await stopping.run()
    except TimeoutError:
        if stopping.asked and stopping.job:
            return Cancellation(job=stopping.job, asked=True)
        raise stopping.trouble or TransientError(f"The service did not answer within {within:g} s.") from None


class _Stopping:
    def __init__(self, poller: Caller, name: str) -> None:
        self._poller = poller
        self._name = name
        self.asked = False
        self.job: TuningJob | None = None
        self.trouble: GeminiTuningError | None = None

    async def run(self) -> Cancellation:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            began = time.monotonic()
            try:
                job = self.job = await self._step()
                if job.state.ended:
                    return Cancellation(job=job, asked=self.asked)
            except TransientError as error:
                self.trouble = error
            await asyncio.sleep(max(0.0, pause - (time.monotonic() - began)))
            pause = min(_LONGEST_PAUSE_SECONDS, pause * 1.5)

    async def _step(self) -> TuningJob:
        """Ask, unless that is done, and look."""
        refusal = None
        if not self.asked:
            try:
                await self._poller.call(lambda source: source.cancel(self._name))
            except ServiceRefusedError as error:
                refusal = error  # maybe only because it had ended already
            else:
                self.asked = True
        job = await self._poller.get(self._name)
        if refusal is not None and not job.state.ended:
            raise refusal
        return job

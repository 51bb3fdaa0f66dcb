"""Cancel a job, and see to it within a bound that it has ended: inside an event loop, or blocking."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from gemini_tuning.errors import GeminiTuningError, ServiceRefusedError, TransientError
from gemini_tuning.tuning.spec import TuningJob
from gemini_tuning.tuning.states import JobState

STOP_SECONDS = 25.0  # Airflow gives a trigger's on_kill 30 s ([triggerer] on_kill_timeout)
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
    """Makes a blocking call without blocking the event loop."""

    async def call(self, ask: Callable[[Cancellable], T]) -> T:
        """Return what the call returns."""


class Stopped(NamedTuple):
    """What came of a cancellation: the job as last seen, or why it couldn't be seen or asked for."""

    job: TuningJob | None
    error: GeminiTuningError | None = None

    @property
    def ended(self) -> bool:
        """Whether the job is known to have ended, cancelled or otherwise."""
        return self.job is not None and self.job.state.ended

    @property
    def cancelled_too_late(self) -> bool:
        """Whether the job had come to an end of its own."""
        return self.ended and self.job is not None and self.job.state is not JobState.CANCELLED

    def sentence(self, name: str) -> str:
        """Return what to log."""
        if self.ended and self.job is not None:
            return f"{name} is {self.job.state.short} now."
        if self.job is not None and self.error is None:
            return f"{name}: its cancellation was asked for; it is still {self.job.progress()}."
        return f"{name} could not be cancelled, or not be seen to end: {self.error} It may go on and be billed."


def stop_blocking(service: Cancellable, name: str, within: float = STOP_SECONDS) -> Stopped:
    """Cancel a job and look at it until it has ended, from a thread without an event loop; see ``stop``."""

    async def stopping() -> Stopped:
        return await stop(_Directly(service), name, within)

    return asyncio.run(stopping())


async def stop(poller: Caller, name: str, within: float = STOP_SECONDS) -> Stopped:
    """Cancel a job and look at it until it has ended; no error when it had ended already.

    Trouble that passes is waited out as long as there is time.

    :param within: seconds for all of it.
    """
    stopping = _Stopping(poller, name)
    try:
        async with asyncio.timeout(within):
            await stopping.run()
    except TimeoutError:
        if stopping.error is None and not stopping.asked:
            stopping.error = TransientError(f"The service did not answer within {within:g} s.")
    except GeminiTuningError as error:
        stopping.error = error
    return Stopped(stopping.job, None if stopping.asked and stopping.job else stopping.error)


class _Directly:
    def __init__(self, service: Cancellable) -> None:
        self._service = service

    async def call(self, ask: Callable[[Cancellable], T]) -> T:
        return await asyncio.to_thread(ask, self._service)


class _Stopping:
    def __init__(self, poller: Caller, name: str) -> None:
        self._poller = poller
        self._name = name
        self.asked = False
        self.job: TuningJob | None = None
        self.error: GeminiTuningError | None = None

    async def run(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            began = time.monotonic()
            try:
                if await self._step():
                    return
            except TransientError as error:
                self.error = error
            await asyncio.sleep(max(0.0, pause - (time.monotonic() - began)))
            pause = min(_LONGEST_PAUSE_SECONDS, pause * 1.5)

    async def _step(self) -> bool:
        """Ask, look, and return whether the job has ended."""
        refusal = None
        if not self.asked:
            try:
                await self._poller.call(lambda source: source.cancel(self._name))
            except ServiceRefusedError as error:
                refusal = error  # maybe only because it had ended already
            else:
                self.asked = True
        job = await self._poller.call(lambda source: source.get(self._name))
        if job.state.ended:
            self.job = job
            return True
        if refusal is not None:
            raise refusal
        self.job = job
        return False

"""A number of places that are taken first come, first served, and may change while somebody waits."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Places:
    """Places on one event loop.

    Args:
        limit: tells how many there are right now; None: any number.
    """

    def __init__(self, limit: Callable[[], int | None]) -> None:
        self._limit = limit
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def free(self) -> bool:
        """Whether the next to come would not have to wait."""
        limit = self._limit()
        return not self._waiting and (limit is None or self._taken < limit)

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place, after waiting for one if need be."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self.admit()
        try:
            await turn
            yield
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)
            else:
                self._taken -= 1
                self.admit()

    def admit(self) -> None:
        """Let in as many as there are places for; call it when the limit has changed."""
        limit = self._limit()
        while self._waiting and (limit is None or self._taken < limit):
            turn = self._waiting.popleft()
            self._taken += 1
            if not turn.done():
                turn.set_result(None)

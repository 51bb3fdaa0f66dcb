"""One poller looks at many tuning jobs: with list pages where that takes fewer requests, else one by one.

Waits of one event loop, connection, project and location share a poller, and so its requests, its client and its
patience. Every blocking call runs in a thread of its own few; nothing here logs, since each wait has its own log.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import Context
from typing import TypeVar

from gemini_tuning.errors import CredentialsRefusedError, GeminiTuningError, PermanentError, TransientError
from gemini_tuning.tuning.garbage import settled, uncollected
from gemini_tuning.tuning.metrics import Metrics
from gemini_tuning.tuning.schedule import (
    Backoff,
    Plan,
    Refusal,
    Way,
    expected_in,
    lists_to_skip,
    plan,
    shows_too_little,
)
from gemini_tuning.tuning.spec import TuningJob
from gemini_tuning.tuning.watching import Source, Watch

GETS_AT_ONCE = 4
THREADS = GETS_AT_ONCE + 2  # a list and a cancellation never wait for gets that hang
REFUSALS_BORNE = 3  # of newly loaded credentials, before the waits are told
LIST_FAILURES_BORNE = 3  # before a get shows whether anything answers
REFUSED_SECONDS = 3600.0  # for which a list that is no use is not asked for again
LOSSES_SECONDS = 60.0  # one reading of losses in this time, and up to LOSSES_SAVED that were saved up
LOSSES_SAVED = 5.0
LONGEST_GATHERING_SECONDS = 1.0

T = TypeVar("T")


class Poller:
    """Looks at the jobs of all waits that share it.

    ``turn`` is held by a wait while it tells something: a thousand that start together would choke who listens.

    :param connect: returns a source with newly loaded credentials; blocks.
    :param chance: returns random numbers from 0 to 1.
    """

    def __init__(self, connect: Callable[[], Source], chance: Callable[[], float] | None = None) -> None:
        self._connect = connect
        self._chance = chance or random.Random().random  # noqa: S311  # spreads requests, guards nothing
        self.turn = asyncio.Lock()
        self._watches: set[Watch] = set()
        self._refused: dict[Way, Refusal] = {}
        self._backoff = Backoff()
        self._refusals = 0
        self._succeeded_at = 0.0
        self._losses_at = -math.inf
        self._source: Source | None = None
        self._connecting = asyncio.Lock()
        self._gets = asyncio.Semaphore(GETS_AT_ONCE)
        self._changed = asyncio.Event()
        self._threads: ThreadPoolExecutor | None = None
        self._users = 0
        self._task: asyncio.Task[None] | None = None
        self._looks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def watch(self, name: str, interval: float) -> AsyncIterator[Watch]:
        """Watch a job until the block is left.

        :param name: the full resource name.
        :param interval: seconds that a job at work is left alone at most.
        """
        watch = Watch(name, interval, time.time() + min(LONGEST_GATHERING_SECONDS, interval / 4))
        with self.used():
            self._watches.add(watch)
            if self._task is None:
                # a context of its own: that of the wait that came first would file everything under that wait
                self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())
            self._changed.set()
            try:
                yield watch
            finally:
                self._watches.discard(watch)

    async def call(self, ask: Callable[[Source], T]) -> T:
        """Ask the service something in a thread; refused credentials are loaded anew, once."""
        with self.used():
            return await self._connected(lambda source: self._in_thread(lambda: ask(source)))

    async def get(self, name: str) -> TuningJob:
        """Return a job as it is now; there are threads that a call needn't share with gets."""
        async with self._gets:
            return await self.call(lambda source: source.get(name))

    async def losses(self, job: TuningJob) -> Metrics | None:
        """Return a job's curves, or None when they can't be read, or were read too often of late."""
        now = time.time()
        earliest = max(self._losses_at, now - LOSSES_SAVED * LOSSES_SECONDS) + LOSSES_SECONDS
        if earliest > now or self._backoff.until > now:
            return None
        self._losses_at = earliest
        with suppress(GeminiTuningError):
            return await self.call(lambda source: source.metrics(job))
        return None

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            due = (watch.due for watch in self._watches if not watch.looking)
            pause = max(min(due, default=math.inf), self._backoff.until) - time.time()
            if pause > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), None if pause == math.inf else pause)
                continue
            try:
                await self._round()
            except Exception as error:  # a fault of this program must not leave all waits hanging
                self._slow_down(_unexpected(error))

    async def _round(self) -> None:
        now = time.time()
        waits = len(self._watches)
        refused = frozenset(way for way, refusal in self._refused.items() if refusal.holds(now, waits))
        planned = plan([watch.candidate(now) for watch in self._watches], refused)
        if planned.way is not Way.SINGLY:
            try:
                await self._connected(lambda source: self._read(source, planned))
            except (TransientError, CredentialsRefusedError) as error:
                if self._backoff.failures < LIST_FAILURES_BORNE or not await self._answers_gets():
                    self._slow_down(error)
                    return
                self._refuse(planned.way)
            except Exception:  # a list only saves requests: gets tell what is wrong
                self._refuse(planned.way)
        now = time.time()
        for watch in self._watches:
            if watch.due <= now and not watch.looking:
                watch.looking = True
                look = asyncio.create_task(self._look(watch))
                self._looks.add(look)
                look.add_done_callback(self._looks.discard)

    async def _read(self, source: Source, planned: Plan) -> None:
        """Read a list until it has shown every job that is expected in it."""
        began, chance = time.time(), self._chance()
        unseen = {watch for watch in self._watches if expected_in(planned.way, watch.candidate(began))}
        by_id: defaultdict[str, list[Watch]] = defaultdict(list)
        for watch in self._watches:
            if not watch.looking and watch.due < math.inf:
                by_id[_id(watch.name)].append(watch)
        pages = source.pages(planned.way.value)
        read = 0
        while unseen and read < planned.pages:
            page = await self._in_thread(lambda: _next_page(pages))
            if page is None:
                break
            read += 1
            for job in page:
                for watch in by_id.get(_id(job.name), ()):
                    watch.see(job, time.time(), chance)
                    watch.misses = watch.skip = 0
                    unseen.discard(watch)
            self._succeed(began)
        for watch in unseen:
            watch.misses += 1
            watch.skip = lists_to_skip(watch.misses)
            watch.due = min(watch.due, began)
        if shows_too_little(read, planned.pages, len(unseen)):
            self._refuse(planned.way, 2 * len(self._watches))

    def _refuse(self, way: Way, waits: float = math.inf) -> None:
        self._refused[way] = Refusal(time.time() + REFUSED_SECONDS, waits)

    async def _answers_gets(self) -> bool:
        """Whether only lists fail."""
        watch = min(self._watches, key=lambda watch: watch.due, default=None)
        if watch is None:
            return False
        try:
            await self.call(lambda source: source.get(watch.name))
        except (TransientError, CredentialsRefusedError):
            return False
        except GeminiTuningError:
            pass  # an answer all the same; the watch hears of it when it is looked at
        self._backoff = Backoff()
        return True

    async def _look(self, watch: Watch) -> None:
        """Look at one job by itself."""
        try:
            async with self._gets:
                began = time.time()
                if began < self._backoff.until or watch not in self._watches:
                    return
                try:
                    job = await self.call(lambda source: source.get(watch.name))
                except CredentialsRefusedError as error:
                    self._slow_down(error)
                except PermanentError as error:
                    watch.tell(error)
                except TransientError as error:
                    self._fail(watch, error)
                except Exception as error:
                    self._fail(watch, _unexpected(error))
                else:
                    watch.skip = max(0, watch.skip - 1)
                    watch.see(job, time.time(), self._chance())
                    self._succeed(began)
        finally:
            watch.looking = False
            self._changed.set()

    def _fail(self, watch: Watch, error: TransientError) -> None:
        """Slow down: everybody for a first failure, only this job when others were seen since it failed before."""
        now = time.time()
        if watch.failed_at and self._succeeded_at >= watch.failed_at:
            watch.due = now + max(watch.interval, error.retry_after or 0.0)
            watch.tell(error)
        else:
            self._slow_down(error)
        watch.failed_at = now

    def _slow_down(self, error: GeminiTuningError) -> None:
        """Let everybody wait; tell those whose look is overdue by it."""
        now = time.time()
        first = now >= self._backoff.until  # requests that were under way together fail together
        if first and isinstance(error, CredentialsRefusedError):
            self._refusals += 1
        if isinstance(error, CredentialsRefusedError) and self._refusals < REFUSALS_BORNE:
            error = TransientError(str(error), 401)
        retry_after = error.retry_after if isinstance(error, TransientError) else None
        self._backoff = self._backoff.after(retry_after, now, self._chance())
        for watch in self._watches:
            if first and watch.due <= now:
                watch.tell(error)
        self._changed.set()

    def _succeed(self, began: float) -> None:
        """Take note of an answer; one to a request from before the trouble is no sign that it is over."""
        self._succeeded_at = time.time()
        if began >= self._backoff.until:
            self._backoff = Backoff()
            self._refusals = 0

    async def _connected(self, ask: Callable[[Source], Awaitable[T]]) -> T:
        source = await self._current_source()
        try:
            return await ask(source)
        except CredentialsRefusedError:
            if self._source is source:
                self._source = None
            return await ask(await self._current_source())

    async def _current_source(self) -> Source:
        async with self._connecting:
            if self._source is None:
                self._source = await self._in_thread(lambda: settled(self._connect))
            return self._source

    async def _in_thread(self, blocking: Callable[[], T]) -> T:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="tuning-poller")
        return await asyncio.get_running_loop().run_in_executor(self._threads, blocking)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Keep threads and client while somebody needs them; an idle poller costs nothing."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._let_go()

    def _let_go(self) -> None:
        for task in (self._task, *self._looks):
            if task is not None:
                task.cancel()
        if self._threads is not None:
            self._threads.shutdown(wait=False)
        self._task = self._threads = self._source = None
        self._refused = {}


def _next_page(pages: Iterator[tuple[TuningJob, ...]]) -> tuple[TuningJob, ...] | None:
    with uncollected():
        return next(pages, None)


def _id(name: str) -> str:
    """Return a job's id: lists spell the project as a number where a name may have spelt it out."""
    return name.rsplit("/", 1)[-1]


def _unexpected(error: Exception) -> TransientError:
    return TransientError(f"Looking at the tuning job failed unexpectedly: {type(error).__name__}: {error}.")

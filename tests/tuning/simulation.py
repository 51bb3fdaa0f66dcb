"""A made-up service, with a list that lags, and processes that buy from it in any order of events and on one clock.

Each process runs the real ``Buyer`` in a thread of its own, but only one thread runs at a time: before anything a
process does to the world it stops, and the test says who goes on, who dies, and whose answer is lost.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Callable

from gemini_tuning.errors import GeminiTuningError, SubmissionUnknownError, TransientError
from gemini_tuning.tuning.buying import RECORD_NAME, Buyer, Purchase
from gemini_tuning.tuning.purchase import Order, Patience
from gemini_tuning.tuning.spec import KEY_LABEL, OWNER_LABEL, TuningJob, TuningJobSpec
from gemini_tuning.tuning.states import JobState

EPOCH = dt.datetime(2026, 11, 12, tzinfo=dt.UTC)
LAG, SETTLE, REQUEST, CANCELLING = 30.0, 31.0, 60.0, 12.0
PATIENCE = Patience(settle_seconds=SETTLE, request_seconds=REQUEST)
KEY = "k" * 40
FAULTS = (
    None,
    None,
    None,
    "lost after",
    "lost before",
    "lost, done later",
    "refused",
    "repeated",
    "killed after",
    "killed, done later",
)
TAKEN_BACK = (JobState.CANCELLING, JobState.CANCELLED)


class Died(BaseException):
    """A process was killed."""


class World:
    """The service and the clock.

    :param choose: given a number of possibilities, returns one of them; the first once there is no more to choose.
    """

    def __init__(self, choose: Callable[[int], int]) -> None:
        self.choose = choose
        self.now = 0.0
        self.jobs: dict[str, TuningJob] = {}
        self.late: list[tuple[float, TuningJobSpec]] = []
        self.ending: dict[str, float] = {}

    def time(self) -> dt.datetime:
        return EPOCH + dt.timedelta(seconds=self.now)

    def create(self, spec: TuningJobSpec) -> TuningJob:
        name = f"projects/7/locations/us-central1/tuningJobs/{len(self.jobs) + 1:03}"
        job = TuningJob(name=name, state=JobState.PENDING, create_time=self.time(), labels=spec.labels)
        self.jobs[name] = job
        return job

    def advance(self, seconds: float) -> None:
        """Let time pass, and requests come through that nobody waits for any more."""
        then = self.now + seconds
        for when, spec in sorted(self.late, key=lambda item: item[0]):
            if when <= then:
                self.now = when
                self.create(spec)
        self.late = [item for item in self.late if item[0] > then]
        self.now = then
        for name in [name for name, when in self.ending.items() if when <= then]:
            del self.ending[name]
            self.set(name, JobState.CANCELLED)

    def set(self, name: str, state: JobState) -> None:
        self.jobs[name] = self.jobs[name].model_copy(update={"state": state})

    def cancel(self, name: str) -> None:
        if not self.jobs[name].state.ended and name not in self.ending:
            self.set(name, JobState.CANCELLING)
            self.ending[name] = self.now + CANCELLING

    def age(self, job: TuningJob) -> float:
        return (self.time() - job.create_time).total_seconds()

    def wanted(self) -> list[TuningJob]:
        return [job for job in self.jobs.values() if job.state not in TAKEN_BACK]


class Process:
    """One task: its memory outlives its threads, of which it has one for each try."""

    def __init__(self, world: World, name: str, *, force_new: bool = False, key: str = KEY) -> None:
        self.world, self.name, self.force_new, self.key = world, name, force_new, key
        self.memory: dict[str, str] = {}
        self.tries = 0
        self.wakes_at = 0.0
        self.purchase: Purchase | None = None
        self.error: GeminiTuningError | None = None
        self.running = False
        self._dies = False
        self._first = True
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)

    # What the test does

    def start(self, *, same_try: bool = False) -> None:
        self.tries += not same_try
        self.purchase = self.error = None
        self.running, self._dies, self.wakes_at, self._first = True, False, 0.0, True
        threading.Thread(target=self._run, daemon=True).start()

    def step(self, *, die: bool = False) -> None:
        """Let the process do one thing and stop before the next one."""
        self._dies = die
        self._go.release()
        assert self._stopped.acquire(timeout=30)

    # What the process does

    def _run(self) -> None:
        spec = TuningJobSpec(
            base_model="gemini-2.5-flash", training_dataset_uri="gs://b/t", labels={OWNER_LABEL: self.name}
        )
        order = Order(spec=spec, key=self.key, claim=str(self.tries), force_new=self.force_new)
        buyer = Buyer(self, self, PATIENCE, clock=self.world.time, sleep=self._sleep)
        try:
            self._stop()
            self.purchase = buyer.buy(order)
        except GeminiTuningError as error:
            self.error = error
        except Died:
            pass
        finally:
            self.running = False
            self._stopped.release()

    def _stop(self) -> None:
        if not self._first:
            self._stopped.release()
        self._first = False
        self._go.acquire()
        if self._dies:
            raise Died

    def _sleep(self, seconds: float) -> None:
        self.wakes_at = self.world.now + seconds
        self._stop()

    # Records

    def get(self, name: str) -> object:
        """As a record store and as a service."""
        if name.startswith("projects/"):
            self._stop()
            return self.world.jobs[name]
        return json.loads(self.memory.get(name, "null"))

    def set(self, name: str, value: dict) -> None:
        self._stop()
        self.memory[name] = json.dumps(value)

    # The service

    def of_purchase(self, key: str) -> tuple[TuningJob, ...]:
        self._stop()
        world = self.world
        answer = tuple(job for job in world.jobs.values() if job.labels[KEY_LABEL] == key and world.age(job) >= LAG)
        self._stop()  # the answer takes its time
        return answer

    def create(self, spec: TuningJobSpec) -> TuningJob:
        self._stop()
        fault = FAULTS[self.world.choose(len(FAULTS))]
        noted = (dt.datetime.fromisoformat(json.loads(self.memory[RECORD_NAME])["at"]) - EPOCH).total_seconds()
        if self.world.now > noted + REQUEST:
            raise SubmissionUnknownError("timed out")
        if fault == "refused":
            raise TransientError("no quota")
        if fault == "lost before":
            raise SubmissionUnknownError("no answer")
        if fault in {"lost, done later", "killed, done later"}:
            self.world.late.append((max(self.world.now, noted + 0.9 * REQUEST), spec))
            raise Died if fault.startswith("killed") else SubmissionUnknownError("no answer")
        job = self.world.create(spec)
        if fault == "repeated":
            self.world.create(spec)
        if fault == "killed after":
            raise Died
        if fault == "lost after":
            raise SubmissionUnknownError("no answer")
        return job

    def cancel(self, name: str) -> None:
        self._stop()
        self.world.cancel(name)


def run(world: World, processes: list[Process]) -> None:
    """Run until every process has a purchase that holds; those that have none yet begin."""
    for _ in range(5_000):
        for process in processes:
            if process.running:
                continue
            if process.purchase is None:
                process.start()  # it is new, or died, or met an error that its next try may not meet
            elif world.jobs[process.purchase.job.name].state is JobState.CANCELLED:
                process.start(same_try=True)  # its wait is over, and it asks again
        ready = [process for process in processes if process.running and process.wakes_at <= world.now]
        if ready:
            ready[world.choose(len(ready))].step(die=world.choose(12) == 11)
            world.advance((0.0, 0.0, 0.5, 4.0, 9.0)[world.choose(5)])
        elif asleep := [process.wakes_at for process in processes if process.running]:
            world.advance(min(asleep) - world.now)
        elif world.ending:
            world.advance(min(world.ending.values()) - world.now)
        else:
            return
    raise AssertionError("the processes never came to an end")

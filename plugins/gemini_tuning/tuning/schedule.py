"""When to look at tuning jobs next, and how: pure arithmetic, fed with the clock and a random number by the poller.

A job at work is never left alone for longer than its wait's interval, so that its end is noticed within one; only a job
that stands in line (for quota, for somebody to resume it) is looked at less often the longer it stands. What the
service says about being too busy holds for every job at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from gemini_tuning.tuning.spec import KEY_LABEL, TuningJob
from gemini_tuning.tuning.states import JobState

PAGE_SIZE = 100
JITTER = 0.15  # of an interval: triggerers that were started together don't stay together; only ever sooner
GATHERING = 0.25  # of an interval: looks that are due within it are made at once
LONGEST_IN_LINE_SECONDS = 300.0
FIRST_DELAY_SECONDS = 2.0
LONGEST_DELAY_SECONDS = 300.0
LONGEST_RETRY_AFTER_SECONDS = 3600.0
LONGEST_SKIP = 32
MANY_UNSEEN = 10

OURS_FILTER = f"labels.{KEY_LABEL}:*"
LIVE_FILTER = " AND ".join(f'state!="{state.value}"' for state in JobState if state.ended)

_IN_LINE = frozenset({JobState.QUEUED, JobState.PAUSED})
_IN_LINE_DETAILS = frozenset({"TUNING_JOB_STATE_WAITING_FOR_QUOTA", "TUNING_JOB_STATE_WAITING_FOR_CAPACITY"})
_NEARLY_OVER_DETAILS = frozenset({"TUNING_JOB_STATE_POST_PROCESSING"})


def gap(job: TuningJob | None, now: float, in_phase_since: float, interval: float) -> float:
    """Return the seconds until the next look at a job.

    :param job: as last seen; None = not seen yet.
    :param now: Unix time, as is ``in_phase_since``: when the job was first seen in its state and detail state.
    :param interval: the wait's own, seconds.
    """
    if job is None:
        return interval
    if job.state is JobState.CANCELLING or job.detail_state in _NEARLY_OVER_DETAILS:
        return interval / 2
    if job.state in _IN_LINE or job.detail_state in _IN_LINE_DETAILS:
        longest = max(interval, LONGEST_IN_LINE_SECONDS)
        return min(longest, max(interval, (now - in_phase_since) / 10))
    return interval


def sooner(seconds: float, chance: float) -> float:
    """Return the seconds less a part of ``JITTER``; ``chance`` is a random number from 0 to 1."""
    return seconds * (1 - JITTER * chance)


class Backoff(NamedTuple):
    """How the service's trouble slows every look down: after ``until`` (Unix time) it may be asked again."""

    failures: int = 0
    until: float = 0.0

    def after(self, retry_after: float | None, now: float, chance: float) -> Backoff:
        """Return what holds after one more failure: doubled each time, and no less than the service asked for.

        Failures of requests that were under way together count once.


        :param retry_after: seconds of the answer's ``Retry-After``; None = it had none.
        :param chance: a random number from 0 to 1, so that triggerers don't all come back at once.
        """
        asked = min(retry_after or 0.0, LONGEST_RETRY_AFTER_SECONDS)
        if now < self.until:
            return Backoff(self.failures, max(self.until, now + asked))
        doubled = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** min(self.failures, 20))
        delay = max(doubled * (1 - chance / 2), asked * (1 + chance / 10))
        return Backoff(self.failures + 1, now + delay)


class Candidate(NamedTuple):
    """What a plan needs to know of a wait.

    ``labelled``: whether the job carries this project's label; None = not known yet. ``listed``: whether lists are
    expected to show it; see ``lists_to_skip``.
    """

    due_in: float
    interval: float
    labelled: bool | None
    listed: bool


class Way(Enum):
    """How a round of looks is made."""

    OURS = OURS_FILTER
    LIVE = LIVE_FILTER
    SINGLY = None


class Plan(NamedTuple):
    """One round of looks: the list to read, if any, and at most how many pages of it."""

    way: Way
    pages: int = 0


class Refusal(NamedTuple):
    """How long a list isn't asked for: until a moment (Unix time), or until there are so many waits that it may pay."""

    until: float
    waits: float

    def holds(self, now: float, waits: int) -> bool:
        """Whether the list isn't asked for yet."""
        return now < self.until and waits < self.waits


def plan(waits: Sequence[Candidate], refused: frozenset[Way] = frozenset()) -> Plan:
    """Return how to look at everything that is due: by list pages wherever single gets would not be fewer requests.

    A list refreshes every wait it shows, due or not; so does its cost not depend on how many are due. Up to twice the
    pages that the jobs would fill are read: others' jobs may lie between them.

    :param refused: the lists that the service doesn't give, or that showed too little.
    """
    way = _list_for(waits, refused)
    if way is Way.SINGLY:
        return Plan(way)
    expected = [wait for wait in waits if expected_in(way, wait)]
    least = -(-len(expected) // PAGE_SIZE)
    due = sum(wait.due_in <= wait.interval * GATHERING for wait in expected)
    if len(expected) < 2 or due < least:
        return Plan(Way.SINGLY)
    return Plan(way, min(2 * least + 1, len(expected)))


def _list_for(waits: Sequence[Candidate], refused: frozenset[Way]) -> Way:
    foreign = sum(wait.listed and wait.labelled is False for wait in waits)
    ours = sum(wait.listed and wait.labelled is not False for wait in waits)
    if Way.OURS not in refused and ours > 1 and foreign * 10 <= ours:
        return Way.OURS
    return Way.SINGLY if Way.LIVE in refused else Way.LIVE


def expected_in(way: Way, wait: Candidate) -> bool:
    """Whether a list is expected to show the job of a wait."""
    return wait.listed and not (way is Way.OURS and wait.labelled is False)


def lists_to_skip(misses: int) -> int:
    """Return for how many lists a job isn't expected in them, after it was missing ``misses`` times in a row.

    A list that lags behind misses a new job for a while; a list may never show a job of another project.
    """
    return min(LONGEST_SKIP, (1 << min(misses, 10)) - 1)


def shows_too_little(pages_read: int, pages_allowed: int, unseen: int) -> bool:
    """Whether a list was cut off with so many jobs unseen that another one should be read next time."""
    return pages_read >= pages_allowed and unseen >= MANY_UNSEEN

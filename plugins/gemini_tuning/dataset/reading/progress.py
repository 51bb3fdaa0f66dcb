"""How far a check has come, for those who wait for it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, TextIO


class Progress(NamedTuple):
    """One look at a file that is being read. ``size`` is what the file holds in all."""

    file: str
    bytes: int
    size: int
    lines: int
    seconds: float

    def __str__(self) -> str:
        """Return share, rate and time left in one line."""
        rate = self.bytes / self.seconds if self.seconds else 0.0
        share = min(self.bytes / self.size, 1.0) if self.size else 1.0
        left = (self.size - self.bytes) / rate if rate else 0.0
        return f"{self.file}: {share:4.0%}, {self.lines:,} lines, {rate / 1e6:,.0f} MB/s, {max(left, 0):.0f} s left"


Report = Callable[[Progress], None]


def to_terminal(stream: TextIO | None = None, *, quiet_seconds: float = 2.0, every_seconds: float = 1.0) -> Report:
    """Return a report that rewrites one line of a terminal, or writes a line every ten intervals elsewhere.

    :param quiet_seconds: nothing is shown of a check that takes less.
    """
    stream = stream or sys.stderr
    interval = every_seconds if stream.isatty() else 10 * every_seconds
    shown = time.monotonic() + quiet_seconds - interval

    def report(progress: Progress) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown < interval:
            return
        shown = now
        start, end = ("\r\x1b[K", "") if stream.isatty() else ("", "\n")
        with suppress(OSError):  # nobody reads it: no reason to stop
            stream.write(f"{start}{progress}{end}")
            stream.flush()

    return report

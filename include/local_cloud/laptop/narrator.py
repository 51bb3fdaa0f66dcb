"""Lines on the terminal: one for each change, the seconds since the start in front."""

from __future__ import annotations

import sys
import time
from typing import TextIO


class Narrator:
    """Writes lines at once, so that a pipe sees them as a terminal does."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._began = time.monotonic()

    def title(self, text: str) -> None:
        """Start a chapter: its seconds count from here."""
        self._began = time.monotonic()
        self.line(f"\n{text}")

    def line(self, text: str = "") -> None:
        """Write a line as it is."""
        print(text, file=self._out, flush=True)

    def event(self, text: str, *, stage: str = "") -> None:
        """Write what happened, after how many seconds, and in which stage."""
        prefix = f"{stage:<12} " if stage else ""
        self.line(f"{self.seconds:7.1f} s  {prefix}{text}")

    @property
    def seconds(self) -> float:
        """Seconds since the chapter began."""
        return time.monotonic() - self._began

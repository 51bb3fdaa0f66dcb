"""Points of a purchase and a wait at which a process may die, named so that a rehearsal can kill it there."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

DIE_AT_VARIABLE = "GEMINI_TUNING_DIE_AT"


class Mark(StrEnum):
    """The points, in the order of a purchase."""

    BEFORE_LOOK = "before-look"
    BEFORE_INTENT = "before-intent"
    AFTER_INTENT = "after-intent"
    BEFORE_REQUEST = "before-request"
    AFTER_REQUEST = "after-request"
    BEFORE_NAME = "before-name"
    AFTER_NAME = "after-name"
    BEFORE_SETTLE = "before-settle"
    AFTER_SETTLE = "after-settle"
    BEFORE_CANCEL = "before-cancel"
    AFTER_CANCEL = "after-cancel"
    BEFORE_SETTLED = "before-settled"
    AFTER_SETTLED = "after-settled"


Reached = Callable[[Mark], None]


def reached(mark: Mark) -> None:
    """Do nothing, unless ``GEMINI_TUNING_DIE_AT=MARK=FILE`` names this mark and the file exists.

    Then the file is removed and the process kills itself with SIGKILL: once, not at each recovery.
    """
    where, _, file = os.environ.get(DIE_AT_VARIABLE, "").partition("=")
    if where != mark or not file:
        return
    try:
        Path(file).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
